"""Packages made by dpkg-deb itself, read by us."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab.hosts.vm import deb
from lab.hosts.vm.errors import VmError
from tests.requires import tool

CONTROL = "Package: sample\nVersion: 1\nArchitecture: all\nMaintainer: none\nDescription: none\n"


def package(folder: Path, compression: str = "xz") -> Path:
    root = folder / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(CONTROL)
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/hello").write_bytes(b"#!/bin/sh\necho hello\n" * 1000)
    (root / "usr/bin/hello").chmod(0o755)
    (root / "usr/bin/hi").symlink_to("hello")
    os.link(root / "usr/bin/hello", root / "usr/bin/same")
    made = folder / "sample_1_all.deb"
    command = ["dpkg-deb", f"-Z{compression}", "--root-owner-group", "--build", root, made]
    subprocess.run(command, check=True, capture_output=True)
    return made


@pytest.mark.parametrize("compression", ["xz", "gzip", "zstd", "none"])
def test_members_are_those_of_dpkg(tmp_path: Path, compression: str) -> None:
    tool("dpkg-deb")
    made = package(tmp_path, compression)
    listed = subprocess.run(
        ["dpkg-deb", "--contents", made], check=True, capture_output=True, text=True
    ).stdout
    names = {line.split()[5].removeprefix("./").strip("/") for line in listed.splitlines()}
    found = {info.name: (info, content) for info, content in deb.members(made)}
    assert set(found) == names
    assert found["usr/bin/hello"][1] == b"#!/bin/sh\necho hello\n" * 1000
    assert found["usr/bin/hello"][0].mode & 0o777 == 0o755
    assert found["usr/bin/hi"][0].linkname == "hello"
    assert found["usr/bin/same"][0].islnk()


def test_name() -> None:
    assert deb.name(Path("/x/libc6_2.36-9+deb12u14_amd64.deb")) == "libc6"


@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "nothing inside", "folder"])
def test_what_is_no_package_is_refused(tmp_path: Path, damage: str) -> None:
    tool("dpkg-deb")
    made = package(tmp_path)
    whole = made.read_bytes()
    spoiled = {
        "cut": whole[: len(whole) // 2],
        "noise": whole[:200] + bytes(len(whole) - 200),
        "empty": b"",
        "nothing inside": b"!<arch>\n",
    }
    if damage == "folder":
        made = tmp_path
    else:
        made.write_bytes(spoiled[damage])
    with pytest.raises(VmError, match="expected"):
        list(deb.members(made))
