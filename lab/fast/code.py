"""Compiling the entries once, and keeping the result as long as the sources are the same."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, cast

import numba
import numpy as np

from dissectors import aeth, bth, crc, immdt, ip, memory, psn, reth, udp
from lab.engine import checks
from lab.engine import memory as regions
from lab.engine import requester as sending
from lab.fast import (
    completer,
    drive,
    fields,
    inlet,
    layout,
    opcodes,
    outlet,
    queues,
    raw,
    requester,
    responder,
    tables,
)

KERNELS: tuple[Any, ...] = (
    completer,
    crc,
    drive,
    fields,
    inlet,
    layout,
    memory,
    opcodes,
    outlet,
    queues,
    raw,
    requester,
    responder,
    tables,
)
DECLARED: tuple[Any, ...] = (aeth, bth, checks, immdt, ip, psn, regions, reth, sending, udp)
"""Where the headers and rules are declared that kernels are made of."""

KEPT_SECONDS = 7 * 86400
"""How long compiled code stays that nobody asks for."""

_SIGNATURE = "int64(int64,int64,int64)"

Entry = Callable[..., int]


def _digest() -> str:
    """Of the sources that are compiled and the numbers they take from elsewhere.

    numba itself looks at the file of the entry alone.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    for module in KERNELS + DECLARED:
        digest.update(Path(module.__file__).read_bytes())
        for name, value in sorted(vars(module).items()):
            if isinstance(value, np.ndarray):
                digest.update(name.encode() + value.tobytes())
            elif isinstance(value, int | np.integer):
                digest.update(f"{name}={int(value)}".encode())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Where compiled code is kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rocelab" / f"fast-{_digest()}"


@cache
def entries() -> tuple[Entry, ...]:
    """`ENTRIES` of lab.fast.drive, compiled; the first time after a change takes some seconds."""
    folder, before = cache_folder(), numba.config.CACHE_DIR
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        _forget_old(folder.parent)
        numba.config.CACHE_DIR = str(folder)
        kept = True
    except OSError:
        kept = False
    try:
        return tuple(_compile(entry, kept=kept) for entry in drive.ENTRIES)
    finally:
        numba.config.CACHE_DIR = before


def _forget_old(folder: Path) -> None:
    """Remove what sources were compiled to that nobody has used for long."""
    for kept in folder.glob("fast-*"):
        with suppress(FileNotFoundError):
            if time.time() - kept.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(kept, ignore_errors=True)


def _compile(function: Any, *, kept: bool) -> Entry:
    # Called through numba, not ctypes: half a microsecond less a call.
    return cast("Entry", numba.njit(_SIGNATURE, nogil=True, cache=kept)(function))
