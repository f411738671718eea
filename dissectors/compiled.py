"""Compiled once, kept on disk: the decorator of every kernel."""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from typing import Any

import numba
from numba.core import event


def _without_blas() -> None:
    """Have numba look for BLAS, which it does once, where there is none to find.

    Looking loads all of scipy.linalg, which takes as long as all else before the first kernel runs;
    no kernel multiplies matrices.
    """
    modules: dict[str, Any] = sys.modules
    if "scipy.linalg" in modules:
        return
    modules["scipy.linalg"] = None  # what is None there cannot be imported
    try:
        import_module("numba.np.arraymath")
    finally:
        del modules["scipy.linalg"]


_without_blas()

LOG = logging.getLogger("rocelab.compiled")
"""Tells when something is compiled, which takes seconds; what is taken from disk is not told."""


def compiled(function: Any) -> Any:
    """`function` compiled by numba at its first call, the result cached where that is possible.

    A kernel releases the interpreter lock. The cache knows a kernel by its own file alone: after
    changing constants or kernels it takes from another file, touch it.
    """
    try:
        return numba.njit(function, cache=True, nogil=True)
    except RuntimeError:
        # No directory to cache in can be written: a read-only installation without a home.
        return numba.njit(function, nogil=True)


class _Told(event.Listener):  # type: ignore[misc]
    """Tells once of what numba compiles, kernels of other packages included."""

    def __init__(self) -> None:
        self._told = False

    def on_start(self, event: Any) -> None:
        if not self._told:
            self._told = True
            kept = event.data["dispatcher"].stats.cache_path
            why = "for the first use only" if kept else "set NUMBA_CACHE_DIR to have it kept"
            LOG.info("compiling, %s", why)

    def on_end(self, event: Any) -> None:
        pass


event.register("numba:compile", _Told())
