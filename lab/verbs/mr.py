"""Memory regions (pyverbs.mr)."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

from lab.engine.memory import Access, Region
from lab.verbs.base import PyverbsCM, table
from lab.verbs.pd import PD
from lab.verbs.pyverbs_error import PyverbsUserError


class MR(PyverbsCM):
    """`length` bytes of zeroed memory of its own, or those at `address`, registered with `access`.

    `buf` is a real address. As on rxe the two keys are one, and a region without remote access has
    r_key 0. Implicit, huge-page and imported regions are not supported.
    """

    _region: Region | None = None
    pd: PD | None = None

    def __init__(
        self,
        creator: PD,
        length: int = 0,
        access: int = 0,
        address: int | None = None,
        implicit: bool = False,
        **kwargs: Any,
    ) -> None:
        if implicit or kwargs:
            raise PyverbsUserError("Implicit and imported memory regions are not supported")
        if address:
            self._memory: Any = (ctypes.c_char * length).from_address(address)
            self._view = memoryview(self._memory).cast("B")
        else:
            self._memory = mmap.mmap(-1, max(length, 1))
            self._view = memoryview(self._memory)[:length]
            address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self.pd = creator
        self._register(Access(access & 0xF), address)
        creator.add_ref(self)

    def _register(self, access: Access, address: int) -> None:
        assert self.pd is not None
        self._adapter = adapter = self.pd.ctx.adapter
        with adapter.lock:
            key = adapter.new_key()
            self._region = Region(key, address, self._view, access, self.pd.handle)
            adapter.device.memory.register(self._region)

    @property
    def _live(self) -> Region:
        if self._region is None:
            raise PyverbsUserError("The memory region is closed")
        return self._region

    def close(self) -> None:
        """Deregister; work that names the region fails from here on. The memory
        goes with its last user.
        """
        if self._region is None or self.pd is None:
            return
        region, self._region = self._region, None
        adapter = self._adapter
        with adapter.lock:
            adapter.device.memory.deregister(region.key)
        self.pd = None

    def write(self, data: bytes | str, length: int, offset: int = 0) -> None:
        """Put the first `length` bytes of `data` at `offset`."""
        if isinstance(data, str):
            data = data.encode()
        self._check(length, offset)
        self._view[offset : offset + length] = data[:length]

    def read(self, length: int, offset: int) -> bytes:
        """`length` bytes from `offset`."""
        self._check(length, offset)
        return bytes(self._view[offset : offset + length])

    def _check(self, length: int, offset: int) -> None:
        size = len(self._live.view)
        if length < 0 or offset < 0 or offset + length > size:
            raise PyverbsUserError(f"{length} bytes at offset {offset} leave the {size} of the MR")

    @property
    def buf(self) -> int:
        return self._live.address

    @property
    def lkey(self) -> int:
        return self._live.key

    @property
    def rkey(self) -> int:
        return self._live.key if self._live.access.remote else 0

    @property
    def length(self) -> int:
        return len(self._live.view)

    @property
    def handle(self) -> int:
        return self._live.key

    def __str__(self) -> str:
        return "MR:\n" + table(
            ("lkey", self.lkey), ("rkey", self.rkey), ("length", self.length), ("buf", self.buf)
        )
