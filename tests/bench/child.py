"""One `rocelab` command as a process: its output, its time and its memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """`seconds` by the clock, `cpu` seconds of all threads, `peak` bytes of resident memory."""

    status: int
    output: bytes
    seconds: float
    cpu: float
    peak: int


def rocelab(words: Sequence[str], *, keep: bool = True) -> Done:
    """Run it once; its peak memory is what the kernel says of it when it has ended.

    Without `keep` its output goes nowhere.
    """
    command = [sys.executable, "-m", "lab.cli", *words]
    start = time.perf_counter()
    out = subprocess.PIPE if keep else subprocess.DEVNULL
    with subprocess.Popen(command, stdout=out) as process:
        output = process.stdout.read() if process.stdout else b""
        _, ended, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(ended)
    cpu = used.ru_utime + used.ru_stime
    return Done(process.returncode, output, seconds, cpu, used.ru_maxrss << 10)


def heads(first: str, each: str) -> str:
    """The line above `row`s; `each` names their figure by 10,000 connections."""
    names = ("MB", "seconds", "CPU", each, "peak MB")
    return f"{first:16}{'connections':>12}" + "".join(f"{name:>9}" for name in names)


def row(name: str, connections: int, size: int, done: Done, *, each: float, note: str) -> str:
    """A line of a table by number of connections; `size` of the file in bytes, `each` seconds."""
    return (
        f"{name:16}{connections:12,}{size / 1e6:9.0f}{done.seconds:9.2f}{done.cpu:9.2f}"
        f"{each:9.3f}{done.peak / (1 << 20):9.0f}{note}"
    )
