"""The devices of this process: names, addresses, and which of them are running."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from ipaddress import ip_address

from lab.verbs.adapter import Adapter
from lab.verbs.pyverbs_error import PyverbsRDMAError

VARIABLE = "ROCELAB_DEVICES"


class Devices:
    """Names in order, each with the function that starts its adapter; Contexts of
    one name share it.
    """

    def __init__(self, starters: Mapping[str, Callable[[], Adapter]]) -> None:
        self._starters = dict(starters)
        self._running: dict[str, tuple[Adapter, int]] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_environment(cls, start: Callable[[str], Adapter] = Adapter) -> Devices:
        """What ROCELAB_DEVICES lists: `roce_0=127.0.0.11 roce_1=::1`; none where it is not set.

        PyverbsRDMAError for a word that is no name and address.
        """
        words = os.environ.get(VARIABLE, "").split()
        pairs = [word.partition("=") for word in words]
        for word, (name, _, address) in zip(words, pairs, strict=True):
            if not (name and _is_address(address)):
                expected = f"{VARIABLE}: expected NAME=ADDRESS, found {word!r}"
                raise PyverbsRDMAError(expected, errno.EINVAL)
        return cls({name: partial(start, address) for name, _, address in pairs})

    @property
    def names(self) -> list[str]:
        return list(self._starters)

    def open(self, name: str) -> Adapter:
        """The adapter of `name`, started if nobody has it open; PyverbsRDMAError
        where that fails.
        """
        if name not in self._starters:
            known = ", ".join(self._starters) or f"none; {VARIABLE} lists them"
            raise PyverbsRDMAError(f"Failed to find device {name} (devices: {known})")
        with self._lock:
            adapter, users = self._running.get(name, (None, 0))
            if adapter is None:
                try:
                    adapter = self._starters[name]()
                except OSError as error:
                    raise PyverbsRDMAError(
                        f"Failed to open device {name}", error.errno or errno.EIO
                    ) from None
            self._running[name] = adapter, users + 1
            return adapter

    def close(self, name: str) -> None:
        """One user less; the last one stops the adapter."""
        with self._lock:
            adapter, users = self._running.pop(name)
            if users > 1:
                self._running[name] = adapter, users - 1
                return
        adapter.close()


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
