"""Compiling takes seconds: it is said, once, and what was compiled is kept."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

KERNEL = """
from dissectors.compiled import compiled

@compiled
def next_one(number):
    return number + 1

@compiled
def after_next(number):
    return next_one(next_one(number))
"""
RUN = "import sys, lab.cli; lab.cli.app.default(lambda: print(__import__('kernel').after_next(1)))"


def run(folder: Path) -> tuple[str, str]:
    """What a command that needs the kernel prints, and tells a terminal."""
    controller, terminal = pty.openpty()
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(folder / "cache"),
        "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
    }
    code = f"{RUN}; sys.argv[1:] = []; lab.cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=terminal,
        env=environment,
        text=True,
        check=True,
    )
    os.write(terminal, b".")
    said = b""
    while not said.endswith(b"."):
        said += os.read(controller, 1 << 16)
    os.close(terminal)
    os.close(controller)
    return done.stdout, said[:-1].decode()


def test_compiling_is_said_on_the_first_use_only(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text(KERNEL)
    assert run(tmp_path) == ("3\n", "rocelab: compiling, for the first use only\r\n")
    assert run(tmp_path) == ("3\n", "")
