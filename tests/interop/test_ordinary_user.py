"""An ordinary user's machine without a network: an image of packages at hand, and a run with it."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from lab.hosts.vm import image
from tests.guests import guest_image
from tests.requires import tool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

NOBODY = 65534


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of that user's, which the tests' own temporary folders are not for others."""
    folder = Path(tempfile.mkdtemp())
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


def as_user(home: Path, *command: object) -> subprocess.CompletedProcess[str]:
    """Run a command as that user: root becomes nobody, who may do least of all."""
    ids = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    become = ["setpriv", *ids] if os.geteuid() == 0 else []
    path = os.pathsep.join([str(Path.cwd()), *site.getsitepackages()])
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": path}
    return subprocess.run(
        [*become, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment,
        cwd=home,
    )


@pytest.fixture
def python(home: Path) -> str:
    """An interpreter that the user may run, and start once more from within."""
    probe = "import os, sys; os.execv(sys.executable, [sys.executable, '-c', 'import lab, numpy'])"
    for candidate in (sys.executable, "/usr/bin/python3"):
        if not as_user(home, candidate, "-c", probe).returncode:
            return candidate
    pytest.skip("this Python, or the working copy, is nobody else's to read")


def test_build_without_a_network_and_run(home: Path, python: str) -> None:
    tool("setpriv")
    made = guest_image()
    archives = image.cache() / "apt" / "archives"
    files = [archives / file for file in made.packages.values()]
    if not all(file.exists() for file in files):
        pytest.skip(f"the packages of the image are no longer in {archives}")
    rocelab = partial(as_user, home, python, "-m", "lab.cli")
    packages = home / "packages"
    packages.mkdir()
    for file in files:
        shutil.copy(file, packages)
    kernel = next(packages.glob("linux-image-[0-9]*.deb"))

    built = rocelab("vm", "build", "--kernel", kernel, "--packages", packages)
    assert built.returncode == 0, built.stderr
    assert built.stdout.startswith(f"built: kernel {made.kernel}, ")
    assert (home / ".cache/rocelab/images" / made.kernel / "image.json").exists()

    out = home / "run"
    done = rocelab("run", "--backend", "interop", "--seed", 1, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["verdict"] == "pass"
    assert document["capture"]["icrc_ok"] == document["capture"]["roce_packets"] > 40
    if os.geteuid() == 0:
        assert out.stat().st_uid == NOBODY
