"""Compiled once, kept on disk: the decorator of every kernel."""

from __future__ import annotations

from typing import Any

import numba


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
