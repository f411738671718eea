"""Registered memory: who may read and write which bytes, and the bytes themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntFlag
from typing import Any, NamedTuple

from lab.engine.work import Sge


class Access(IntFlag):
    """`enum ibv_access_flags`; local reading is always allowed."""

    NONE = 0
    LOCAL_WRITE = 1 << 0
    REMOTE_WRITE = 1 << 1
    REMOTE_READ = 1 << 2
    REMOTE_ATOMIC = 1 << 3
    MW_BIND = 1 << 4


class Bind(NamedTuple):
    """What BIND_MW does: `length` bytes at `address` of the region `lkey` get the key `key`.

    The upper 24 bits of the key say which window, the low 8 count its bindings; with `own` (type 2)
    the queue pair it is posted to alone reaches through it.
    """

    key: int
    lkey: int
    address: int
    length: int
    access: Access
    own: bool


class ProtectionError(Exception):
    """Memory was named that the key, the bounds, the rights or the protection
    domain do not cover.
    """


def covers(size: Any, start: Any, length: Any) -> Any:
    """Whether a region of `size` bytes has `length` of them from its byte `start` on."""
    return start >= 0 and length >= 0 and start <= size - length


ANY_QP = -1
"""A window of type 1: every queue pair of its domain reaches through it."""


@dataclass(frozen=True, slots=True)
class Region:
    """A memory region: `view` holds the bytes at `address` and after; `domain` is its protection
    domain.

    `window` tells a bound memory window from a region (None): the number of the queue pair that
    alone reaches through it (type 2), or ANY_QP. A window is for peers; its key is no lkey, and
    `parent` is that of the region it opens.
    """

    key: int
    address: int
    view: memoryview
    access: Access
    domain: int
    window: int | None = None
    parent: int = 0

    def slice(self, address: int, length: int, domain: int, access: Access) -> memoryview:
        """The bytes at `address`; ProtectionError where this region does not give them."""
        start = address - self.address
        if domain != self.domain:
            raise ProtectionError(f"key 0x{self.key:08x} belongs to another protection domain")
        if access & ~self.access:
            raise ProtectionError(f"key 0x{self.key:08x} does not allow {access.name}")
        if not covers(len(self.view), start, length):
            raise ProtectionError(
                f"{length} bytes at 0x{address:x} leave the region of {len(self.view)} bytes "
                f"at 0x{self.address:x}"
            )
        return self.view[start : start + length]


class Memory:
    """The regions of a device by key."""

    def __init__(self) -> None:
        self._regions: dict[int, Region] = {}
        self._bound: Counter[int] = Counter()
        """How many windows are open on the region of a key."""
        self._windows: dict[int, int | None] = {}
        """Each window by the upper 24 bits of its key: the key, where it is open."""

    def __len__(self) -> int:
        return len(self._regions)

    def __contains__(self, key: int) -> bool:
        return key in self._regions

    def register(self, region: Region) -> None:
        """Add `region`; ValueError where its key is taken."""
        if region.key in self._regions:
            raise ValueError(f"key 0x{region.key:08x} is in use")
        self._regions[region.key] = region

    def deregister(self, key: int) -> None:
        """Forget the region; KeyError where there is none."""
        region = self._regions.pop(key)
        if region.window is not None:
            self._bound[region.parent] -= 1
            self._windows[key >> 8] = None

    def get(self, key: int) -> Region | None:
        """The region of `key`, or None."""
        return self._regions.get(key)

    def windows_on(self, region: Region) -> int:
        """How many windows are open on `region`."""
        return self._bound[region.key]

    def add_window(self, key: int) -> None:
        """There is a window of this key, shut."""
        self._windows[key >> 8] = None

    def remove_window(self, key: int) -> None:
        """Shut the window and forget it."""
        self._shut(key)
        self._windows.pop(key >> 8, None)

    def bind(self, bind: Bind, domain: int, qpn: int) -> None:
        """Open a window on a region, or one of type 1 on another (IBTA vol. 1, 10.6.7; kernel:
        rxe_mw.c); ProtectionError where the region does not allow it.

        A window of type 1 with no length is shut.
        """
        if bind.key >> 8 not in self._windows:
            raise ProtectionError(f"no memory window has key 0x{bind.key:08x}")
        if bind.own and (self._windows[bind.key >> 8] is not None or not bind.length):
            reason = "is bound already" if bind.length else "is not shut by binding no bytes"
            raise ProtectionError(f"window 0x{bind.key:08x} of type 2 {reason}")
        if bind.length:
            region = self._regions.get(bind.lkey)
            if region is None or region.window is not None:
                raise ProtectionError(f"no memory region has key 0x{bind.lkey:08x}")
            if bind.key in self:
                raise ProtectionError(f"key 0x{bind.key:08x} is in use")
            if bind.access & (Access.REMOTE_WRITE | Access.REMOTE_ATOMIC):
                needed = Access.MW_BIND | Access.LOCAL_WRITE
            else:
                needed = Access.MW_BIND
            view = region.slice(bind.address, bind.length, domain, needed)
            window = qpn if bind.own else ANY_QP
            opened = Region(
                bind.key, bind.address, view, bind.access, domain, window, parent=bind.lkey
            )
        self._shut(bind.key)
        if bind.length:
            self.register(opened)
            self._bound[bind.lkey] += 1
            self._windows[bind.key >> 8] = bind.key

    def _shut(self, key: int) -> None:
        current = self._windows.get(key >> 8)
        if current is not None:
            self.deregister(current)

    def invalidate(self, key: int, domain: int) -> None:
        """Shut a window of type 2, take remote access away from a region of `domain`; of other keys
        nothing.
        """
        region = self._regions.get(key)
        if region is None or region.domain != domain:
            return
        if region.window is None:
            self._regions[key] = replace(region, access=region.access & Access.LOCAL_WRITE)
        elif region.window != ANY_QP:
            self.deregister(key)

    def slice(
        self,
        key: int,
        address: int,
        length: int,
        domain: int,
        access: Access,
        *,
        peer_of: int | None = None,
    ) -> memoryview:
        """The bytes that `key` gives at `address`; ProtectionError where it does not give them.

        `peer_of` is the number of the queue pair whose peer asks; None: its own side does.
        """
        region = self._regions.get(key)
        if region is None:
            raise ProtectionError(f"no memory region has key 0x{key:08x}")
        if region.window is not None and peer_of is None:
            raise ProtectionError(f"key 0x{key:08x} is a window's, which peers alone reach through")
        if region.window not in {None, ANY_QP, peer_of}:
            raise ProtectionError(f"key 0x{key:08x} is a window of queue pair {region.window}")
        return region.slice(address, length, domain, access)

    def gather(
        self, sges: Sequence[Sge], offset: int, length: int, domain: int
    ) -> memoryview | bytes:
        """`length` bytes from `offset` of what `sges` name, laid end to end."""
        pieces = list(self._pieces(sges, offset, length, domain, Access.NONE))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def scatter(
        self, sges: Sequence[Sge], offset: int, chunks: Iterable[memoryview], domain: int
    ) -> None:
        """Write `chunks` from `offset` on into what `sges` name, laid end to end."""
        for chunk in chunks:
            done = 0
            for piece in self._pieces(sges, offset, len(chunk), domain, Access.LOCAL_WRITE):
                piece[:] = chunk[done : done + len(piece)]
                done += len(piece)
            offset += len(chunk)

    def check(self, sges: Sequence[Sge], length: int, domain: int) -> None:
        """ProtectionError unless `length` bytes may be written into what `sges` name."""
        for _ in self._pieces(sges, 0, length, domain, Access.LOCAL_WRITE):
            pass

    def _pieces(
        self, sges: Sequence[Sge], offset: int, length: int, domain: int, access: Access
    ) -> Iterable[memoryview]:
        for sge in sges:
            if not length:
                return
            if offset >= sge.length:
                offset -= sge.length
                continue
            size = min(sge.length - offset, length)
            yield self.slice(sge.lkey, sge.address + offset, size, domain, access)
            offset, length = 0, length - size
        if length:
            raise ProtectionError(f"{length} bytes go beyond the scatter-gather list")
