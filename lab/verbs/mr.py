"""Memory regions and windows (pyverbs.mr)."""

from __future__ import annotations

import ctypes
import errno
import mmap
from dataclasses import replace
from typing import Any

from lab.engine.memory import Access, Bind, Region
from lab.verbs import libibverbs_enums as e
from lab.verbs.base import PyverbsCM, inc_rkey, table, unsupported
from lab.verbs.mem_alloc import is_mapped
from lab.verbs.pd import PD
from lab.verbs.pyverbs_error import PyverbsRDMAError, PyverbsUserError
from lab.verbs.utils import access_flags_to_str

ACCESS = Access.LOCAL_WRITE | Access.REMOTE_WRITE | Access.REMOTE_READ | Access.REMOTE_ATOMIC
ZERO_BASED = int(e.IBV_ACCESS_ZERO_BASED)
_SUPPORTED = int(ACCESS | Access.MW_BIND | e.IBV_ACCESS_ZERO_BASED | e.IBV_ACCESS_ON_DEMAND)
_OPTIONAL = 0x3FF << 20
"""Flags a device may ignore (IBV_ACCESS_OPTIONAL_RANGE), relaxed ordering among them."""
_WRITES = int(Access.REMOTE_WRITE | Access.REMOTE_ATOMIC)


def _checked(access: int, what: str) -> Access:
    """The engine's form of access flags; PyverbsRDMAError for those that cannot be had."""
    if unknown := access & ~(_SUPPORTED | _OPTIONAL):
        reason = f"access flags 0x{unknown:x} are not supported"
        raise PyverbsRDMAError(f"{what}: {reason}", errno.EOPNOTSUPP)
    # ib_check_mr_access (include/rdma/ib_verbs.h).
    if access & _WRITES and not access & Access.LOCAL_WRITE:
        reason = "remote write and atomics need local write as well"
        raise PyverbsRDMAError(f"{what}: {reason}", errno.EINVAL)
    return Access(access & int(ACCESS | Access.MW_BIND))


class MR(PyverbsCM):
    """`length` bytes of zeroed memory of its own, or those at `address`, registered with `access`.

    `buf` is a real address. The two keys are one, as on rxe (rxe_mr_init). Memory at `address` must
    stay as long as the region: it is not pinned.

    Support: partly. Access flags: local write, remote write, read and atomic, window binding, zero
    based; on demand (memory is never pinned) and the optional ones (relaxed ordering) are taken and
    change nothing. Huge-page and flush flags are refused (EOPNOTSUPP); implicit and imported
    regions are not supported.
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
        if implicit or kwargs.get("handle") is not None:
            unsupported("An implicit or imported memory region")
        what = f"Failed to register a MR. length: {length}, access flags: {int(access)}"
        rights = _checked(access, what)
        if length < 0:
            raise PyverbsRDMAError(what, errno.EINVAL)
        try:
            self._hold(length, address)
        except OSError as error:
            raise PyverbsRDMAError(what, error.errno or errno.ENOMEM) from None
        self.pd = creator
        self._adapter = adapter = creator.ctx.adapter
        base = 0 if access & ZERO_BASED else self._address
        with adapter.lock:
            self._region = Region(adapter.new_key(), base, self._view, rights, creator.handle)
            adapter.device.memory.register(self._region)
        creator.mrs.add(self)

    def _hold(self, length: int, address: int | None) -> None:
        """Take `length` bytes at `address`, or new ones."""
        if address:
            if not is_mapped(address, length):
                raise OSError(errno.EFAULT, "memory that is not there")
            self._memory: Any = (ctypes.c_char * length).from_address(address)
            self._view = memoryview(self._memory).cast("B")
        else:
            self._memory = mmap.mmap(-1, max(length, 1))
            self._view = memoryview(self._memory)[:length]
            address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._address = address

    @property
    def live(self) -> Region:
        """The engine's region; PyverbsUserError where it is closed."""
        if self._region is None:
            raise PyverbsUserError("The memory region is closed")
        return self._region

    def rereg(
        self, flags: int, pd: PD | None = None, addr: int = 0, length: int = 0, access: int = 0
    ) -> None:
        """Change the domain, the memory or the rights; the keys stay. Work posted before that no
        longer fits fails. EINVAL for flags without their argument.
        """
        what = "Failed to rereg MR"
        region = self.live
        if flags & e.IBV_REREG_MR_CHANGE_TRANSLATION and not (addr and length):
            raise PyverbsRDMAError(f"{what}: no address", errno.EINVAL)
        if not flags or flags & ~7 or (flags & e.IBV_REREG_MR_CHANGE_PD and pd is None):
            raise PyverbsRDMAError(f"{what}: flags {int(flags)}", errno.EINVAL)
        if flags & e.IBV_REREG_MR_CHANGE_ACCESS:
            region = replace(region, access=_checked(access, what))
        if flags & e.IBV_REREG_MR_CHANGE_TRANSLATION:
            if not is_mapped(addr, length):
                raise PyverbsRDMAError(what, errno.EFAULT)
            self._hold(length, addr)
            base = addr if region.address else 0
            region = replace(region, address=base, view=self._view)
        if flags & e.IBV_REREG_MR_CHANGE_PD and pd is not None and self.pd is not None:
            self.pd.mrs.discard(self)
            pd.mrs.add(self)
            self.pd = pd
            region = replace(region, domain=pd.handle)
        memory = self._adapter.device.memory
        with self._adapter.lock:
            memory.deregister(region.key)
            memory.register(region)
        self._region = region

    def unimport(self) -> None:
        unsupported("An imported memory region")

    def close(self) -> None:
        """Deregister; work that names the region fails from here on. The memory
        goes with its last user. EINVAL while a window is bound to it (rxe_dereg_mr).
        """
        if self._region is None or self.pd is None:
            return
        region, memory = self._region, self._adapter.device.memory
        with self._adapter.lock:
            if memory.windows_on(region):
                what = "Failed to dereg MR: a memory window is bound to it"
                raise PyverbsRDMAError(what, errno.EINVAL)
            self._region = None
            memory.deregister(region.key)
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
        size = len(self.live.view)
        if length < 0 or offset < 0 or offset + length > size:
            raise PyverbsUserError(f"{length} bytes at offset {offset} leave the {size} of the MR")

    @property
    def buf(self) -> int:
        return self._address if self._region is not None else 0

    @property
    def lkey(self) -> int:
        return self.live.key

    @property
    def rkey(self) -> int:
        return self.live.key

    @property
    def length(self) -> int:
        return len(self.live.view)

    @property
    def handle(self) -> int:
        return self.live.key

    def __str__(self) -> str:
        return "MR:\n" + table(
            ("lkey", self.lkey),
            ("rkey", self.rkey),
            ("length", self.length),
            ("buf", self.buf),
            ("handle", self.handle),
        )


class MWBindInfo(PyverbsCM):
    """The part of a region that a window opens, and to what.

    Support: full.
    """

    def __init__(self, mr: MR, addr: int, length: int, mw_access_flags: int) -> None:
        self.mr = mr
        self.addr = addr
        self.length = length
        self.mw_access_flags = mw_access_flags

    def bind(self, mw: MW, rkey: int) -> Bind:
        """The engine's form of binding `mw` to this under the key `rkey`."""
        own = mw.type == e.IBV_MW_TYPE_2
        access = Access(self.mw_access_flags & int(ACCESS))
        key = mw.handle & ~0xFF | rkey & 0xFF
        return Bind(key, self.mr.lkey, self.addr, self.length, access, own)

    def __str__(self) -> str:
        return "MWBindInfo:\n" + table(
            ("Addr", self.addr),
            ("Length", self.length),
            ("MW access flags", access_flags_to_str(self.mw_access_flags)),
        )


class MWBind(PyverbsCM):
    """A request to bind a window of type 1 (QP.bind_mw).

    Support: full.
    """

    def __init__(self, info: MWBindInfo, send_flags: int, wr_id: int = 0) -> None:
        self.info = info
        self.send_flags = send_flags
        self.wr_id = wr_id

    def __str__(self) -> str:
        return "MWBind:\n" + table(("WR id", self.wr_id), ("Send flags", self.send_flags))


class MW(PyverbsCM):
    """A memory window: an r_key for part of a region, opened and shut by requests to a queue pair.

    Support: full. Type 1 is bound with QP.bind_mw, type 2 (2B: of one queue pair) by
    IBV_WR_BIND_MW or wr_bind_mw and shut by invalidating its key.
    """

    pd: PD | None = None

    def __init__(self, pd: PD, mw_type: int) -> None:
        if mw_type not in {e.IBV_MW_TYPE_1, e.IBV_MW_TYPE_2}:
            what = f"Failed to allocate MW: {mwtype2str(mw_type)}"
            raise PyverbsRDMAError(what, errno.EINVAL)
        self._adapter = adapter = pd.ctx.adapter
        with adapter.lock:
            self.rkey = adapter.new_key()
            adapter.device.memory.add_window(self.rkey)
        self.type = mw_type
        self.handle = self.rkey
        self.pd = pd
        pd.mws.add(self)

    def next_rkey(self) -> int:
        """The key of its next binding."""
        return inc_rkey(self.rkey)

    def close(self) -> None:
        """Shut the window; its key means nothing from here on."""
        if self.pd is None:
            return
        self.pd = None
        memory = self._adapter.device.memory
        with self._adapter.lock:
            memory.remove_window(self.handle)

    def __str__(self) -> str:
        return "MW:\n" + table(
            ("Rkey", self.rkey), ("Handle", self.handle), ("MW Type", mwtype2str(self.type))
        )


class DMMR(MR):
    """A region of device memory.

    Support: no. No device here has memory of its own.
    """

    def __init__(self, pd: PD, length: int, access: int, dm: Any, offset: int) -> None:
        unsupported("Device memory")


class DmaBufMR(MR):
    """A region of a dma-buf.

    Support: no. Its memory may be a GPU's, which a socket cannot reach.
    """

    def __init__(
        self,
        pd: PD,
        length: int,
        access: int,
        dmabuf: Any = None,
        offset: int = 0,
        gpu: int = 0,
        gtt: int = 0,
    ) -> None:
        unsupported("A dma-buf memory region")


def mwtype2str(mw_type: int) -> str:
    names = {1: "IBV_MW_TYPE_1", 2: "IBV_MW_TYPE_2"}
    return names.get(mw_type, f"Unknown MW type ({mw_type})")
