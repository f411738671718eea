"""What a guest needs of a kernel package: the uncompressed kernel, and modules in loading order."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath

import zstandard

from lab.hosts.vm.errors import VmError

WANTED = (
    "virtio_pci",
    "virtio_net",
    "virtio_rng",
    "virtio_console",
    "9pnet_virtio",
    "9p",
    "crc32_generic",  # rdma_rxe needs it at run time; no dependency says so
    "crc32_pclmul",
    "ib_umad",
    "ib_uverbs",
    "rdma_ucm",
    "rdma_rxe",
    "veth",
    "dummy",
)
"""Modules a guest loads; those built into the kernel or merged into others are passed over."""

_BOOT_MAGIC = b"HdrS"


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


DECOMPRESSORS: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b", lambda data: zlib.decompressobj(31).decompress(data)),
    (b"\xfd7zXZ\0", lambda data: lzma.LZMADecompressor().decompress(data)),
    (b"BZh", lambda data: bz2.BZ2Decompressor().decompress(data)),
    (b"\x28\xb5\x2f\xfd", _zstd),
    (b"\x5d\0\0", lambda data: lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(data)),
)
"""First bytes -> how to decompress; what follows the compressed data is passed over."""


def vmlinux(image: bytes) -> bytes:
    """The ELF kernel inside a bzImage; VmError where there is none.

    QEMU starts it directly (PVH), which spares emulating the decompression
    (Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length).
    """
    if image[:4] == b"\x7fELF":
        return image
    if image[0x202:0x206] != _BOOT_MAGIC:
        raise VmError("expected an x86 kernel (bzImage or vmlinux), found another kind of file")
    setup = (image[0x1F1] or 4) + 1
    offset, length = struct.unpack_from("<II", image, 0x248)
    payload = image[setup * 512 + offset :][:length]
    for magic, decompress in DECOMPRESSORS:
        if payload.startswith(magic):
            kernel = decompress(payload)
            if kernel[:4] == b"\x7fELF":
                return kernel
    raise VmError(f"expected a compressed kernel, found bytes beginning {payload[:6]!r}")


def module_name(path: str) -> str | None:
    """The name of the module in the file `path`, with underscores; None if it is no module."""
    found = re.fullmatch(r"(.+)\.ko(?:\.xz|\.gz|\.zst)?", PurePosixPath(path).name)
    return found[1].replace("-", "_") if found else None


def plain_module(path: str, content: bytes) -> bytes:
    """A module's ELF file, decompressed if need be."""
    suffix = PurePosixPath(path).suffix
    table = {".xz": lzma.decompress, ".gz": gzip.decompress, ".zst": _zstd}
    return table[suffix](content) if suffix in table else content


def needs(module: bytes) -> list[str]:
    """What must be loaded before `module`: "depends" and "softdep=pre:" of its .modinfo section.

    Entries of that section are `key=value`, each ended by a null byte.
    """
    found: list[str] = []
    for value in re.findall(rb"\0depends=([^\0]*)\0", module):
        found += value.decode().split(",")
    for value in re.findall(rb"\0softdep=pre: ([^\0]*)\0", module):
        found += value.decode().split()
    return [name.replace("-", "_") for name in found if name]


def loading_order(modules: Mapping[str, bytes], wanted: Iterable[str] = WANTED) -> list[str]:
    """Names of the `wanted` modules and all they need, each after what it needs."""
    order: dict[str, None] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in order or name not in modules or name in path:
            return
        for needed in needs(modules[name]):
            visit(needed, (*path, name))
        order[name] = None

    for name in wanted:
        visit(name, ())
    return list(order)
