"""Judgements, one a file: the docstring is its manual page.

To add one: a module with a docstring and `run(context) -> PassResult`, and its name in `PASSES`.
"""

from __future__ import annotations

from importlib import import_module

from analysis.context import Context
from analysis.finding import PassResult

PASSES = (
    "capture-integrity",
    "icrc",
    "psn-negotiated",
    "psn-accounting",
    "psn-secrecy",
    "psn-reuse",
    "psn-source",
    "link-faults",
)
"""Their names, in the order they are run and shown."""
APART = ("psn-source",)
"""Those that `verify` leaves out: they do not ask whether what was negotiated is on the wire."""


def run(name: str, context: Context) -> PassResult:
    """The result of the pass called `name`."""
    result: PassResult = import_module(_module(name)).run(context)
    return result


def manual(name: str) -> str:
    """The manual page of the pass called `name`."""
    return (import_module(_module(name)).__doc__ or "").strip()


def _module(name: str) -> str:
    return f"{__name__}.{name.replace('-', '_')}"
