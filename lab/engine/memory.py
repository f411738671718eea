"""Registered memory: who may read and write which bytes, and the bytes themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntFlag

from lab.engine.work import Sge


class Access(IntFlag):
    """`enum ibv_access_flags`; local reading is always allowed."""

    NONE = 0
    LOCAL_WRITE = 1 << 0
    REMOTE_WRITE = 1 << 1
    REMOTE_READ = 1 << 2
    REMOTE_ATOMIC = 1 << 3

    @property
    def remote(self) -> bool:
        return bool(self & ~Access.LOCAL_WRITE)


class ProtectionError(Exception):
    """Memory was named that the key, the bounds, the rights or the protection
    domain do not cover.
    """


@dataclass(frozen=True, slots=True)
class Region:
    """A memory region: `view` holds the bytes at `address` and after; `domain` is its protection
    domain.
    """

    key: int
    address: int
    view: memoryview
    access: Access
    domain: int

    def slice(self, address: int, length: int, domain: int, access: Access) -> memoryview:
        """The bytes at `address`; ProtectionError where this region does not give them."""
        start = address - self.address
        if domain != self.domain:
            raise ProtectionError(f"key 0x{self.key:08x} belongs to another protection domain")
        if access & ~self.access:
            raise ProtectionError(f"key 0x{self.key:08x} does not allow {access.name}")
        if start < 0 or start + length > len(self.view):
            raise ProtectionError(
                f"{length} bytes at 0x{address:x} leave the region of {len(self.view)} bytes "
                f"at 0x{self.address:x}"
            )
        return self.view[start : start + length]


class Memory:
    """The regions of a device by key."""

    def __init__(self) -> None:
        self._regions: dict[int, Region] = {}

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
        del self._regions[key]

    def invalidate(self, key: int, domain: int) -> None:
        """Take remote access away from a region of `domain`; of other keys nothing."""
        region = self._regions.get(key)
        if region is not None and region.domain == domain:
            self._regions[key] = replace(region, access=region.access & Access.LOCAL_WRITE)

    def slice(self, key: int, address: int, length: int, domain: int, access: Access) -> memoryview:
        """The bytes that `key` gives at `address`; ProtectionError where it does not give them."""
        region = self._regions.get(key)
        if region is None:
            raise ProtectionError(f"no memory region has key 0x{key:08x}")
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
