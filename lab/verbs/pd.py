"""Protection domains (pyverbs.pd)."""

from __future__ import annotations

from itertools import count
from typing import Any
from weakref import WeakSet

from lab.verbs.base import PyverbsCM, close_weakrefs
from lab.verbs.device import Context
from lab.verbs.pyverbs_error import PyverbsUserError

_handles = count(1)


class PD(PyverbsCM):
    """Queue pairs reach only memory of their own domain; closing it closes all that
    was made in it.
    """

    _open = False

    def __init__(self, creator: Context, **kwargs: Any) -> None:
        if not isinstance(creator, Context):
            raise PyverbsUserError(f"Cannot create PD from {type(creator)}")
        if kwargs:
            raise PyverbsUserError("Importing a PD by its handle is not supported")
        self.ctx = creator
        self.handle = next(_handles)
        self.qps: WeakSet[Any] = WeakSet()
        self.ahs: WeakSet[Any] = WeakSet()
        self.mrs: WeakSet[Any] = WeakSet()
        self.srqs: WeakSet[Any] = WeakSet()
        self._open = True
        creator.pds.add(self)

    def add_ref(self, obj: Any) -> None:
        """`obj` is closed with this domain."""
        groups = {"QP": self.qps, "QPEx": self.qps, "AH": self.ahs, "MR": self.mrs}
        groups.get(type(obj).__name__, self.srqs).add(obj)

    def close(self) -> None:
        if self._open:
            self._open = False
            close_weakrefs([self.qps, self.ahs, self.mrs, self.srqs])
