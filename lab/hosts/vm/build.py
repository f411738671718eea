"""Makes the guest's image of packages."""

from __future__ import annotations

import fcntl
import json
import posixpath
import re
import stat
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from lab.hosts.vm import cpio, deb, kernel, packages, warm
from lab.hosts.vm.errors import VmError
from lab.hosts.vm.image import INIT, Image, cache, recipe

_MERGED = re.compile(r"(bin|sbin|lib|lib64)(/|$)")
_DROPPED = re.compile(
    r"""boot/(?!vmlinuz)|
    usr/share/(doc|man|locale|info|lintian|bug|perl|perl5|misc|gdb|menu|pixmaps|applications)/|
    usr/lib/(systemd|udev|modules/[^/]+/(?!kernel))|
    usr/lib/python3[^/]*/(test|idlelib|lib2to3|ensurepip|pydoc_data|distutils|curses|tkinter)/|
    usr/lib/x86_64-linux-gnu/(gconv|perl.*|libibverbs/(?!librxe)[^/]+|libpython3[^/]*\.a)|
    usr/lib/x86_64-linux-gnu/lib(perl|sqlite3|gssapi|krb5|k5crypto|db-)[^/]*|
    etc/(?!alternatives|libibverbs\.d/rxe|services|protocols|ssl/openssl|rdma|python|iproute2)|
    var/|usr/include/|usr/src/|usr/games/""",
    re.VERBOSE,
)


def build(
    wanted: str | None,
    progress: packages.Progress,
    *,
    folder: Path | None = None,
) -> Image:
    """Fetch packages with the machine's own apt and make the image.

    `wanted` is a kernel version ("6.12"; None: the distribution's). With `folder` nothing is
    fetched: `wanted` is the kernel's package and `folder` holds the others. VmError says what
    was missing.
    """
    root = cache()
    root.mkdir(parents=True, exist_ok=True)
    with _alone(root):
        if folder is not None:
            if wanted is None:
                raise VmError("expected --kernel FILE beside --packages DIR, found none")
            files = packages.offline(Path(wanted), folder)
        else:
            files = packages.fetch(root / "apt", wanted, progress)
        return _make(files, root / "images", progress)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    with (root / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise VmError(
                f"expected to be alone in {root}, found another `rocelab vm build`; "
                "wait for it to end"
            ) from None
        yield


def _make(files: list[Path], images: Path, progress: packages.Progress) -> Image:
    tree, modules, boot = _read(files, progress)
    release = _release(modules)
    flat = _flatten(modules)
    order = kernel.loading_order(flat)
    if "rdma_rxe" not in order:
        raise VmError(
            f"expected a kernel with the module rdma_rxe, found {release} without it; "
            "cloud kernels lack it"
        )
    for name in order:
        tree.add(f"usr/lib/modules/{name}.ko", cpio.file(flat[name]))
    tree.add("etc/modules", cpio.file("\n".join(order).encode() + b"\n"))
    _complete(tree)
    target = images / release
    target.mkdir(parents=True, exist_ok=True)
    (target / "image.json").unlink(missing_ok=True)
    image = Image(target, release, recipe(), {deb.name(path): path.name for path in files})
    progress(0.8, "writing the image")
    _write(image.vmlinux, kernel.vmlinux(boot))
    _write_tree(image, tree)
    progress(0.9, "booting it, to compile its Python modules")
    for path, content in warm.compiled(image).items():
        tree.add(f"{warm.FOLDER}/{path}", cpio.file(content))
    _write_tree(image, tree)
    document = {key: value for key, value in asdict(image).items() if key != "folder"}
    _write(target / "image.json", json.dumps(document, indent=2).encode())
    progress(1, "done")
    return image


def _write_tree(image: Image, tree: cpio.Tree) -> None:
    with _replacing(image.initrd) as part, part.open("wb") as stream:
        tree.write(stream)


def _read(
    files: list[Path], progress: packages.Progress
) -> tuple[cpio.Tree, dict[str, bytes], bytes]:
    """The file tree, the kernel's modules by path, and the kernel."""
    tree = cpio.Tree()
    modules: dict[str, bytes] = {}
    boot = b""
    total = sum(path.stat().st_size for path in files)
    done = 0
    for path in files:
        progress(0.8 * done / total, f"unpacking {deb.name(path)}")
        done += path.stat().st_size
        for info, content in deb.members(path):
            name = _MERGED.sub(r"usr/\1\2", info.name) if _MERGED.match(info.name) else info.name
            if name.startswith("boot/vmlinuz"):
                boot = content
            elif kernel.module_name(name):
                modules[name] = content
            elif name and not _DROPPED.match(name):
                _add(tree, name, info, content)
    if not boot:
        raise VmError(
            "expected a kernel package (linux-image-*) among them, found no boot/vmlinuz in any"
        )
    return tree, modules, boot


def _add(tree: cpio.Tree, name: str, info: tarfile.TarInfo, content: bytes) -> None:
    if info.isdir():
        tree.add(name, cpio.FOLDER)
    elif info.isreg():
        tree.add(name, cpio.Node(stat.S_IFREG | (info.mode & 0o777), content))
    elif info.issym():
        target = info.linkname
        if name != info.name and not target.startswith("/"):
            # Relative to where the package has it; the folder was merged into /usr.
            above = posixpath.dirname(info.name)
            target = "/" + posixpath.normpath(posixpath.join(above, target))
        tree.add(name, cpio.link(target))
    elif info.islnk():
        other = tree.nodes.get(info.linkname.removeprefix("./"))
        if other is not None:
            tree.add(name, other)


def _release(modules: Iterable[str]) -> str:
    for path in modules:
        if found := re.search(r"lib/modules/([^/]+)/", path):
            return found[1]
    raise VmError("expected modules in the kernel package, found none")


def _flatten(modules: dict[str, bytes]) -> dict[str, bytes]:
    """Module name -> its ELF file; only modules of the kinds a guest could need are looked at."""
    kept = re.compile(
        r"kernel/(arch|crypto|lib|net|fs|drivers/(infiniband|net|virtio|char|block))/"
    )
    return {
        str(kernel.module_name(path)): kernel.plain_module(path, content)
        for path, content in modules.items()
        if kept.search(path)
    }


def _complete(tree: cpio.Tree) -> None:
    for name in ("bin", "sbin", "lib", "lib64"):
        tree.add(name, cpio.link(f"usr/{name}"))
    for name in ("dev", "proc", "sys", "tmp", "run", "root", "var/tmp", "opt/rocelab", "usr/bin"):
        tree.add(name, cpio.FOLDER)
    tree.add("usr/bin/sh", cpio.link("/usr/bin/busybox"))
    tree.add("init", cpio.file(INIT.read_bytes(), 0o755))
    tree.add("etc/passwd", cpio.file(b"root::0:0:root:/root:/bin/sh\n"))
    tree.add("etc/group", cpio.file(b"root:x:0:\n"))
    hosts = (
        "127.0.0.1 localhost\n10.0.0.1 server\n10.0.0.2 client\nfd00::1 server\nfd00::2 client\n"
    )
    tree.add("etc/hosts", cpio.file(hosts.encode()))


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    part = path.with_name(path.name + ".part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    with _replacing(path) as part:
        part.write_bytes(content)
