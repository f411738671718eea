"""What all objects of the API share (pyverbs.base): context management and closing
in the right order.
"""

from __future__ import annotations

import ctypes
import errno
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, NoReturn, Self
from weakref import WeakSet

from lab.engine.errors import VerbError
from lab.verbs.pyverbs_error import PyverbsRDMAError


def PyverbsRDMAErrno(msg: str) -> PyverbsRDMAError:
    """`msg` as an error, with the errno that the C library was left with."""
    return PyverbsRDMAError(msg, ctypes.get_errno())


def inc_rkey(rkey: int) -> int:
    """The key after `rkey`: its low 8 bits are the consumer's to count (ibv_inc_rkey)."""
    return (rkey & ~0xFF) | (rkey + 1) & 0xFF


def unsupported(what: str) -> NoReturn:
    """Refuse as a device without the feature does: PyverbsRDMAError with EOPNOTSUPP."""
    raise PyverbsRDMAError(f"{what} is not supported", errno.EOPNOTSUPP)


class PyverbsObject:
    """Base of everything; `logger` is named after the class.

    Support: full.
    """

    @property
    def logger(self) -> logging.Logger:
        return logging.getLogger(type(self).__name__)

    def set_log_level(self, val: int) -> None:
        self.logger.setLevel(val)


class PyverbsCM(PyverbsObject):
    """An object that holds something and gives it back at `close`: by `with`, by its parent, by its
    end.

    Closing twice is closing once.

    Support: full.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # There is nobody to tell; without a context manager, for work requests come and go.
        try:  # noqa: SIM105
            self.close()
        except PyverbsRDMAError:
            pass

    def close(self) -> None:
        """Give back what is held."""


def close_weakrefs(groups: Iterable[WeakSet[Any]]) -> None:
    """Close every object of every group, group by group."""
    for group in groups:
        # Members may go at any moment, so that a set with a length may have nothing to pop.
        with suppress(KeyError):
            while True:
                group.pop().close()


@contextmanager
def verb(what: str) -> Iterator[None]:
    """Turn the engine's refusal into PyverbsRDMAError: `what` failed, errno, and
    the rule that was broken.
    """
    try:
        yield
    except VerbError as error:
        raise PyverbsRDMAError(f"{what}: {error.reason}", error.errno) from None


def table(*rows: tuple[str, object], width: int = 22) -> str:
    """`name : value` lines, as pyverbs prints its objects."""
    return "".join(f"{name:{width}}: {value!s:<20}\n" for name, value in rows)
