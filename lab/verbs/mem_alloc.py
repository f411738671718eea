"""Memory by address (pyverbs.mem_alloc): the C library's own functions."""

from __future__ import annotations

import ctypes
import mmap as _mmap

from lab.verbs.base import PyverbsRDMAErrno

_libc = ctypes.CDLL(None, use_errno=True)
for _name, _arguments in {
    "mmap": [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long],
    "munmap": [ctypes.c_void_p, ctypes.c_size_t],
    "madvise": [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int],
    "mincore": [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p],
    "malloc": [ctypes.c_size_t],
    "free": [ctypes.c_void_p],
    "posix_memalign": [ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t, ctypes.c_size_t],
}.items():
    getattr(_libc, _name).argtypes = _arguments
_libc.mmap.restype = _libc.malloc.restype = ctypes.c_void_p
_libc.free.restype = None

PROT_EXEC_ = _mmap.PROT_EXEC
PROT_READ_ = _mmap.PROT_READ
PROT_WRITE_ = _mmap.PROT_WRITE
PROT_NONE_ = 0
MAP_PRIVATE_ = _mmap.MAP_PRIVATE
MAP_SHARED_ = _mmap.MAP_SHARED
MAP_FIXED_ = 0x10
MAP_ANONYMOUS_ = _mmap.MAP_ANONYMOUS
MAP_STACK_ = 0x20000
MAP_LOCKED_ = 0x2000
MAP_HUGETLB_ = 0x40000
MAP_POPULATE_ = 0x8000
MAP_NORESERVE_ = 0x4000
MAP_GROWSDOWN_ = 0x100
_MADV_DONTNEED = 4
_FAILED = ctypes.c_void_p(-1).value


def mmap(
    addr: int = 0,
    length: int = 100,
    prot: int = PROT_READ_ | PROT_WRITE_,
    flags: int = MAP_PRIVATE_ | MAP_ANONYMOUS_,
    fd: int = 0,
    offset: int = 0,
) -> int:
    """Map `length` bytes; the address. MemoryError where that fails."""
    address: int | None = _libc.mmap(addr, length, prot, flags, fd, offset)
    if address == _FAILED or address is None:
        raise MemoryError("Failed to mmap memory")
    return address


def munmap(addr: int, length: int) -> None:
    if _libc.munmap(addr, length):
        raise MemoryError("Failed to munmap requested memory")


def madvise(addr: int, length: int, flags: int = _MADV_DONTNEED) -> None:
    """Advise about pages; PyverbsRDMAError where that fails."""
    if _libc.madvise(addr, length, flags):
        raise PyverbsRDMAErrno("Failed to madvise memory")


def malloc(size: int) -> int:
    """The address of `size` new bytes."""
    address: int | None = _libc.malloc(size)
    if not address:
        raise MemoryError("Failed to allocate memory")
    return address


def posix_memalign(size: int, alignment: int = 8) -> int:
    """The address of `size` zeroed bytes, a multiple of `alignment`."""
    found = ctypes.c_void_p()
    if error := _libc.posix_memalign(ctypes.byref(found), alignment, size):
        raise MemoryError(f"Failed to allocate memory ({error})")
    assert found.value is not None
    ctypes.memset(found.value, 0, size)
    return found.value


def is_mapped(addr: int, length: int) -> bool:
    """Whether all of these bytes are there (mincore)."""
    start = addr - addr % _mmap.PAGESIZE
    size = addr + length - start
    if addr >> 64 or length <= 0 or start + size > 1 << 64:
        return not length
    pages = (ctypes.c_ubyte * -(-size // _mmap.PAGESIZE))()
    return not _libc.mincore(start, size, pages)


def free(ptr: int) -> None:
    """Give back what malloc or posix_memalign gave."""
    _libc.free(ptr)


def write(addr: int, data: bytes | str, length: int, offset: int = 0) -> None:
    """Put the first `length` bytes of `data` at `addr + offset`."""
    if isinstance(data, str):
        data = data.encode()
    ctypes.memmove(addr + offset, data, length)


def read(addr: int, length: int, offset: int = 0) -> bytes:
    """`length` bytes from `addr + offset`."""
    return ctypes.string_at(addr + offset, length)


def writebe32(addr: int, val: int, offset: int = 0) -> None:
    """The 32-bit number `offset` numbers after `addr`, big-endian."""
    ctypes.memmove(addr + 4 * offset, val.to_bytes(4, "big"), 4)


def writebe64(addr: int, val: int, offset: int = 0) -> None:
    """The 64-bit number `offset` numbers after `addr`, big-endian."""
    ctypes.memmove(addr + 8 * offset, val.to_bytes(8, "big"), 8)


def read32(addr: int, offset: int = 0) -> int:
    """The 32-bit number `offset` numbers after `addr`, in host order."""
    return ctypes.c_uint32.from_address(addr + 4 * offset).value


def read64(addr: int, offset: int = 0) -> int:
    """The 64-bit number `offset` numbers after `addr`, in host order."""
    return ctypes.c_uint64.from_address(addr + 8 * offset).value
