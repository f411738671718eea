"""Starts a process that cannot outlive its starter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_ENTER = str(Path(__file__).with_name("enter.py"))


def launch(
    command: Sequence[str],
    namespaces: Sequence[int] = (),
    *,
    pass_fds: Sequence[int] = (),
    **popen: Any,
) -> subprocess.Popen[bytes]:
    """Start `command` in namespaces given as file descriptors; it dies with the calling thread.

    It gets no standard input unless `popen` (arguments of subprocess.Popen) says otherwise.
    """
    words = [sys.executable, "-I", "-S", _ENTER, str(os.getpid())]
    words += [*map(str, namespaces), "--", *command]
    popen.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen(words, pass_fds=[*namespaces, *pass_fds], **popen)
