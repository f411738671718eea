from __future__ import annotations

from pathlib import Path

import pytest

from lab.hosts.vm import image, packages
from lab.hosts.vm.errors import VmError
from tests.requires import lacking, tool


@pytest.fixture
def apt(tmp_path: Path) -> packages.Apt:
    tool("apt-get", "apt-cache")
    apt = packages.Apt(tmp_path, private_lists=False)
    try:
        apt.kernel(None)
    except VmError as error:
        lacking(f"apt knows no kernel: {error}")
    return apt


def test_the_closure_is_resolved_by_apt(apt: packages.Apt) -> None:
    files = apt.resolve([apt.kernel(None), *packages.GUEST])
    names = [file.partition("_")[0] for file in files]
    assert len(names) == len(set(names))
    assert {*packages.GUEST, "libc6", "libibverbs1"} <= set(names)
    assert any(name.startswith("linux-image-6") for name in names)
    assert not {"initramfs-tools", "systemd", "perl"} & set(names)


def test_a_kernel_apt_does_not_know_is_named(apt: packages.Apt) -> None:
    with pytest.raises(VmError, match=r"expected apt to know a kernel 1\.2, found linux-image-"):
        apt.kernel("1.2")


def test_a_package_apt_does_not_know_is_named(apt: packages.Apt) -> None:
    with pytest.raises(VmError, match="no-such-package"):
        apt.resolve(["no-such-package"])


def test_without_apt_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(VmError, match="--kernel FILE --packages DIR"):
        packages.Apt(tmp_path, private_lists=False)


def test_offline_names_what_is_missing(tmp_path: Path) -> None:
    kernel = tmp_path / "linux-image-6.1.0-1-amd64_6.1_amd64.deb"
    for name in packages.GUEST:
        (tmp_path / f"{name}_1_amd64.deb").touch()
    with pytest.raises(VmError, match="linux-image-6"):
        packages.offline(kernel, tmp_path)
    kernel.touch()
    found = packages.offline(kernel, tmp_path)
    assert found[0] == kernel
    assert len(found) == 1 + len(packages.GUEST)
    (tmp_path / "perftest_1_amd64.deb").unlink()
    with pytest.raises(VmError, match="found no perftest"):
        packages.offline(kernel, tmp_path)


def test_an_image_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(VmError, match=r"found none; run: rocelab vm build --kernel 6\.12"):
        image.find("6.12")
    with pytest.raises(VmError, match="expected a guest image in"):
        image.find(str(tmp_path))


def test_an_image_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "rocelab/images/6.1.0-9-amd64"
    folder.mkdir(parents=True)
    (folder / "image.json").write_text('{"kernel": "6.1.0-9-amd64", "recipe": "", "packages": {}}')
    with pytest.raises(VmError, match="found one of another; run: rocelab vm build"):
        image.find("6.1")
    with pytest.raises(
        VmError, match=r"found 6\.1\.0-9-amd64; run: rocelab vm build --kernel 6\.12"
    ):
        image.find("6.12")
