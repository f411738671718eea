"""Compiling the entries once, and keeping the result as long as the sources are the same."""

from __future__ import annotations

import ctypes
import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

import dissectors.crc
from lab.fast import drive

_SIGNATURE = "int64(int64,int64,int64)"
_C = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)

Entry = Callable[..., int]


def _digest() -> str:
    """Of every source the compiled code may come from: numba itself looks only at
    the entry's file.
    """
    here = Path(drive.__file__).parent
    engine = here.parent / "engine"
    sources = sorted([*here.glob("*.py"), *engine.glob("*.py"), Path(dissectors.crc.__file__)])
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Where compiled code is kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rocelab" / f"fast-{_digest()}"


@cache
def entries() -> tuple[Entry, Entry]:
    """(drive, simulate) of lab.fast.drive, compiled; the first time after a change
    takes some seconds.
    """
    folder, before = cache_folder(), numba.config.CACHE_DIR
    try:
        folder.mkdir(parents=True, exist_ok=True)
        numba.config.CACHE_DIR = str(folder)
        kept = True
    except OSError:
        kept = False
    try:
        return _compile(drive.drive, kept=kept), _compile(drive.simulate, kept=kept)
    finally:
        numba.config.CACHE_DIR = before


def _compile(function: Any, *, kept: bool) -> Entry:
    made = numba.cfunc(_SIGNATURE, nopython=True, cache=kept)(function)
    call = _C(made.address)
    call.made = made  # type: ignore[attr-defined]  # keeps the code alive
    return call
