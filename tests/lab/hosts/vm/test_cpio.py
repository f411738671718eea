"""Archives written by us, unpacked by GNU cpio."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

from lab.hosts.vm.cpio import FOLDER, Tree, file, link
from tests.requires import tool


def unpacked(tree: Tree, folder: Path) -> Path:
    tool("cpio")
    stream = io.BytesIO()
    tree.write(stream)
    subprocess.run(
        ["cpio", "--extract", "--quiet", "--make-directories"],
        input=stream.getvalue(),
        cwd=folder,
        check=True,
    )
    return folder


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    tree = Tree()
    tree.add("usr/bin/tool", file(b"x" * 4097, 0o755))
    tree.add("etc/empty", file(b""))
    tree.add("bin", link("usr/bin"))
    tree.add("tmp", FOLDER)
    folder = unpacked(tree, tmp_path)
    assert (folder / "usr/bin/tool").read_bytes() == b"x" * 4097
    assert (folder / "usr/bin/tool").stat().st_mode & 0o777 == 0o755
    assert (folder / "etc/empty").read_bytes() == b""
    assert (folder / "bin/tool").samefile(folder / "usr/bin/tool")
    assert (folder / "tmp").is_dir()


def test_a_folder_replaces_nothing() -> None:
    tree = Tree()
    tree.add("bin", link("usr/bin"))
    tree.add("bin", FOLDER)
    assert tree.nodes["bin"] == link("usr/bin")


def test_equal_trees_give_equal_bytes() -> None:
    first, second = io.BytesIO(), io.BytesIO()
    for stream, names in ((first, "ab"), (second, "ba")):
        tree = Tree()
        for name in names:
            tree.add(name, file(name.encode()))
        tree.write(stream)
    assert first.getvalue() == second.getvalue()
