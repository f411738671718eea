"""The guest's image: its kernel and a file tree, kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from lab.hosts.vm import kernel, packages
from lab.hosts.vm.errors import VmError

INIT = Path(__file__).with_name("init.sh")
"""First program of a guest."""


@dataclass(frozen=True, slots=True)
class Image:
    """A built image: `kernel` is its release ("6.1.0-56-amd64"), `packages` name -> file name."""

    folder: Path
    kernel: str
    recipe: str
    packages: dict[str, str]

    @property
    def vmlinux(self) -> Path:
        """The kernel to boot."""
        return self.folder / "vmlinux"

    @property
    def initrd(self) -> Path:
        """The file tree, as the kernel takes it."""
        return self.folder / "initrd"


def cache() -> Path:
    """Where images and packages are kept: `$XDG_CACHE_HOME/rocelab` or `~/.cache/rocelab`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rocelab"


def recipe() -> str:
    """Changes whenever an image built by this version would be another."""
    parts = [*packages.GUEST, *kernel.WANTED, INIT.read_text()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def load(folder: Path) -> Image:
    """The image in `folder`; VmError where there is none."""
    try:
        document = json.loads((folder / "image.json").read_bytes())
        return Image(folder=folder, **document)
    except (OSError, ValueError, TypeError) as error:
        raise VmError(
            f"expected a guest image in {folder}, found none ({error}); rocelab vm build"
        ) from None


def built() -> list[Image]:
    """Images in the cache, the one built last first."""
    found = [(path.stat().st_mtime, path) for path in (cache() / "images").glob("*/image.json")]
    return [load(path.parent) for _, path in sorted(found, reverse=True)]


def find(wanted: str | None = None) -> Image:
    """The image built last, of a kernel version ("6.12"), or in a folder; VmError if none fits."""
    if wanted is not None and "/" in wanted:
        return load(Path(wanted))
    images = built()
    for image in images:
        if wanted is None or image.kernel == wanted or image.kernel.startswith(wanted + "."):
            if image.recipe != recipe():
                raise VmError(
                    f"expected an image of kernel {image.kernel} made by this version of rocelab, "
                    "found one of another; run: rocelab vm build"
                    + (f" --kernel {wanted}" if wanted else "")
                )
            return image
    have = ", ".join(image.kernel for image in images) or "none"
    version = "" if wanted is None else f" --kernel {wanted}"
    raise VmError(f"expected a guest image, found {have}; run: rocelab vm build{version}")
