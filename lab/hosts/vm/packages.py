"""The guest's packages, resolved and fetched by the machine's own apt, by any user.

apt is given a state of its own: a folder for its cache, and a status file in which nothing is
installed but one package that stands for what a guest does without. Nothing of the system's is
changed. What was fetched stays, so that an interrupted fetch is taken up where it stopped.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from lab.hosts.vm import deb
from lab.hosts.vm.errors import VmError

GUEST = (
    "busybox-static",
    "ibverbs-providers",
    "ibverbs-utils",
    "iproute2",
    "perftest",
    "python3",
    "python3-pyverbs",
    "rdmacm-utils",
    "tcpdump",
)
"""What is asked for; what these need comes with them."""

KERNELS = ("linux-image-amd64", "linux-image-generic")
"""Metapackages of the newest kernel, of Debian and of Ubuntu."""

_STATUS = """\
Package: rocelab-guest
Status: install ok installed
Maintainer: none
Architecture: amd64
Version: 1
Provides: adduser, debconf (= 2), init-system-helpers (= 99), linux-base (= 99), \
linux-initramfs-tool, lsb-base (= 99), perl, perl-base, systemd, sysvinit-utils (= 99), \
udev (= 999), usr-is-merged (= 99), usrmerge (= 99)
Description: what a guest does without
"""

Progress = Callable[[float, str], None]
"""Called with a fraction (0 to 1) and what is being done."""


class Apt:
    """apt-get with its state in `folder`; `private_lists` are fetched there, not the system's."""

    def __init__(self, folder: Path, *, private_lists: bool) -> None:
        if shutil.which("apt-get") is None:
            raise VmError(
                "expected apt-get to fetch the guest's packages with, found none; fetch the "
                f"packages {', '.join(GUEST)} and all they need on a machine of Debian's, and a "
                "linux-image-*-amd64 package, then: rocelab vm build --kernel FILE --packages DIR"
            )
        for each in ("archives/partial", "lists/partial"):
            (folder / each).mkdir(parents=True, exist_ok=True)
        (folder / "status").write_text(_STATUS)
        self.archives = folder / "archives"
        settings = {
            "Dir::State::status": folder / "status",
            "Dir::Cache": folder,
            "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
            "APT::Install-Recommends": "false",
            "Debug::NoLocking": "true",
            "Acquire::Retries": "3",
        }
        if private_lists:
            settings["Dir::State::Lists"] = folder / "lists"
        self._options = [f"--option={key}={value}" for key, value in settings.items()]

    def run(self, program: str, *words: str) -> str:
        """Standard output of one call; VmError with what apt said where it fails."""
        done = subprocess.run(
            [program, *self._options, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=_environment(),
        )
        if done.returncode:
            raise VmError(f"{program} {words[0]} failed: {_last(done.stderr)}")
        return done.stdout

    def kernel(self, version: str | None) -> str:
        """The package of the newest kernel, or of the newest whose version begins so ("6.12")."""
        known = self.run("apt-cache", "pkgnames", "linux-image-").split()
        if version is None:
            for name in KERNELS:
                if name in known:
                    return name
            raise VmError("expected apt to know linux-image-amd64, found it does not")
        pattern = re.compile(rf"linux-image-({re.escape(version)}\.[0-9][\w.+~-]*)")
        variants = re.compile("cloud|rt|unsigned|dbg|amd64-")
        found = [name for name in known if pattern.fullmatch(name) and not variants.search(name)]
        if not found:
            others = sorted(n for n in known if re.fullmatch(r"linux-image-[0-9].*-amd64", n))
            raise VmError(
                f"expected apt to know a kernel {version}, found "
                f"{', '.join(n for n in others if not variants.search(n)) or 'none at all'}; "
                "add a source that has it (for Debian 12, bookworm-backports)"
            )
        return max(found, key=_version_key)

    def resolve(self, names: Iterable[str]) -> list[str]:
        """File names of the packages that `names` and all they need come in."""
        nowhere = f"Dir::Cache::Archives={self.archives.parent / 'none'}"
        listed = self.run("apt-get", "-o", nowhere, "-y", "--print-uris", "install", *names)
        return re.findall(r"^'[^']+' (\S+\.deb) ", listed, re.MULTILINE)

    def fetch(self, names: Iterable[str], progress: Progress) -> None:
        """Fetch what `resolve` lists into `archives`; VmError with what apt said."""
        reading, writing = os.pipe()
        command = ["apt-get", *self._options, "-o", f"APT::Status-Fd={writing}"]
        with (
            subprocess.Popen(
                [*command, "-q", "-y", "--download-only", "install", *names],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                pass_fds=[writing],
                env=_environment(),
            ) as process,
            os.fdopen(reading) as lines,
        ):
            os.close(writing)
            for line in lines:
                kind, _, rest = line.partition(":")
                if kind == "dlstatus":
                    _, percent, text = rest.split(":", 2)
                    progress(float(percent) / 100, text.strip())
            said = process.stderr.read() if process.stderr else ""
        if process.returncode:
            raise VmError(f"fetching packages failed: {_last(said)}; build again to go on")


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


def _last(said: str) -> str:
    errors = [line[3:] for line in said.splitlines() if line.startswith("E: ")]
    return "; ".join(errors[:3]) or said.strip()[-300:] or "it said nothing"


def _version_key(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]


def fetch(folder: Path, kernel: str | None, progress: Progress) -> list[Path]:
    """Packages of the guest and of its kernel, as files under `folder`.

    With the system's package lists; where these are missing or out of date, with fresh ones.
    """
    try:
        return _fetch(Apt(folder, private_lists=False), kernel, progress)
    except VmError:
        apt = Apt(folder, private_lists=True)
        progress(0, "fetching package lists")
        apt.run("apt-get", "update")
        return _fetch(apt, kernel, progress)


def _fetch(apt: Apt, kernel: str | None, progress: Progress) -> list[Path]:
    progress(0, "resolving packages")
    names = [apt.kernel(kernel), *GUEST]
    files = apt.resolve(names)
    apt.fetch(names, progress)
    return [apt.archives / file for file in files]


def offline(kernel: Path, folder: Path) -> list[Path]:
    """The packages in `folder` and the kernel's; VmError where some of GUEST are not there."""
    found = sorted(folder.glob("*.deb"))
    missing = sorted(set(GUEST) - {deb.name(path) for path in found})
    if missing or not kernel.is_file():
        lacking: Sequence[str] = missing or [str(kernel)]
        raise VmError(
            f"expected in {folder} the packages {', '.join(GUEST)} and all they need, and a kernel "
            f"package at {kernel}; found no {', '.join(lacking)}"
        )
    others = [path for path in found if not deb.name(path).startswith("linux-image-")]
    return [kernel, *others]
