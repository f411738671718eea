from __future__ import annotations

import gzip
import lzma
import struct

import pytest
import zstandard

from lab.hosts.vm import kernel
from lab.hosts.vm.errors import VmError

ELF = b"\x7fELF" + bytes(range(256)) * 64


def boot_image(payload: bytes, setup_sectors: int = 3) -> bytes:
    """A bzImage as Documentation/arch/x86/boot.rst lays it out."""
    image = bytearray((setup_sectors + 1) * 512 + 64)
    image[0x1F1] = setup_sectors
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", image, 0x248, 64, len(payload))
    return bytes(image) + payload + b"what follows"


@pytest.mark.parametrize(
    "payload",
    [gzip.compress(ELF), lzma.compress(ELF) + bytes(4), zstandard.compress(ELF)],
    ids=["gzip", "xz", "zstd"],
)
def test_the_kernel_is_found_inside_its_image(payload: bytes) -> None:
    assert kernel.vmlinux(boot_image(payload)) == ELF


def test_a_plain_kernel_stays_as_it_is() -> None:
    assert kernel.vmlinux(ELF) == ELF


@pytest.mark.parametrize(
    "image", [b"", bytes(4096), boot_image(b"unknown"), boot_image(gzip.compress(b"not ELF"))]
)
def test_what_is_no_kernel_is_refused(image: bytes) -> None:
    with pytest.raises(VmError, match="expected"):
        kernel.vmlinux(image)


@pytest.mark.parametrize("compress", [lambda data: data, gzip.compress, lzma.compress])
def test_modules_are_decompressed(compress) -> None:  # type: ignore[no-untyped-def]
    suffix = {gzip.compress: ".gz", lzma.compress: ".xz"}.get(compress, "")
    assert kernel.plain_module(f"a/b.ko{suffix}", compress(ELF)) == ELF


def module(depends: str = "", soft: str = "") -> bytes:
    lines = [f"depends={depends}", "license=GPL", *([f"softdep=pre: {soft}"] if soft else [])]
    return ELF + b"\0" + b"\0".join(line.encode() for line in lines) + b"\0"


def test_loading_order_puts_what_is_needed_first() -> None:
    modules = {
        "rdma_rxe": module("ib_core,ib-uverbs", soft="crc32c"),
        "ib_uverbs": module("ib_core"),
        "ib_core": module(),
        "crc32c": module(),
        "unwanted": module("ib_core"),
    }
    order = kernel.loading_order(modules, ["rdma_rxe", "built_in"])
    assert sorted(order) == ["crc32c", "ib_core", "ib_uverbs", "rdma_rxe"]
    assert order.index("ib_core") < order.index("ib_uverbs") < order.index("rdma_rxe")
    assert order[-1] == "rdma_rxe"


def test_modules_that_need_each_other_end() -> None:
    assert set(kernel.loading_order({"a": module("b"), "b": module("a")}, ["a"])) == {"a", "b"}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("lib/modules/6.1/kernel/fs/9p/9p.ko", "9p"),
        ("x/virtio-rng.ko.xz", "virtio_rng"),
        ("x/modules.dep", None),
        ("x/some.kobold", None),
    ],
)
def test_module_names(path: str, name: str | None) -> None:
    assert kernel.module_name(path) == name
