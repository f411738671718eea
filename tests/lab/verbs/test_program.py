"""Programs written for pyverbs, run as they stand by `python -m lab.verbs`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.verbs.ends import HOSTS

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "pyverbs_write.py"


def run(*words: object, devices: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lab.verbs", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "ROCELAB_DEVICES": devices},
    )


@pytest.mark.parametrize("options", [[], ["--fast"]])
def test_the_example(options: list[str]) -> None:
    done = run(*options, EXAMPLE, "roce_0", devices=f"roce_0={HOSTS[0]}")
    assert done.stderr == ""
    assert done.stdout == "written without the other side's help\n"


def test_devices_and_names_of_44(tmp_path: Path) -> None:
    program = tmp_path / "list.py"
    program.write_text(
        "import sys, pyverbs.enums as e, pyverbs.device as d\n"
        "print([one.name.decode() for one in d.get_device_list()], int(e.IBV_QPT_RC), sys.argv)\n"
    )
    done = run(program, "x", devices="a=127.0.0.15 b=::1")
    assert done.stdout == f"['a', 'b'] 2 {[str(program), 'x']}\n"


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    program = tmp_path / "cm.py"
    program.write_text("from pyverbs.cmid import CMID\n")
    assert "No module named 'pyverbs.cmid'" in run(program).stderr


@pytest.mark.parametrize("devices", ["roce_0", "=127.0.0.1", "roce_0=eth0"])
def test_devices_that_are_none(devices: str) -> None:
    done = run(EXAMPLE, "roce_0", devices=devices)
    assert f"expected NAME=ADDRESS, found {devices!r}" in done.stderr


def test_no_program() -> None:
    for words, status in (((), 2), (("--fast",), 2), (("--help",), 0)):
        assert run(*words).returncode == status
        assert "python -m lab.verbs [--fast] PROGRAM" in run(*words).stderr
    done = run("/nowhere.py")
    assert done.stderr == "/nowhere.py: expected a Python program, found no such file\n"
    assert done.returncode == 2
