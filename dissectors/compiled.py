"""Compiled once, kept on disk: the decorator of every kernel."""

from __future__ import annotations

from typing import Any

import numba


def compiled(function: Any) -> Any:
    """`function` compiled by numba at its first call, the result cached where that is possible.

    A kernel releases the interpreter lock. Calls between kernels are inlined into the caller's
    cache: after a change here, touch the callers' files too.
    """
    try:
        return numba.njit(function, cache=True, nogil=True)
    except RuntimeError:
        # No directory to cache in can be written: a read-only installation without a home.
        return numba.njit(function, nogil=True)
