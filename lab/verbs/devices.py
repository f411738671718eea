"""The devices of this process: names, addresses, and which of them are running."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Mapping

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
    def from_environment(cls) -> Devices:
        """What ROCELAB_DEVICES lists: `roce_0=127.0.0.11 roce_1=::1`; none where it is not set."""
        pairs = (word.split("=", 1) for word in os.environ.get(VARIABLE, "").split())
        return cls({name: _starter(address) for name, address in pairs})

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


def _starter(address: str) -> Callable[[], Adapter]:
    return lambda: Adapter(address)
