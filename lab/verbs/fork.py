"""Whether memory survives a fork (pyverbs.fork): nothing here is pinned, so that it always does."""

from __future__ import annotations

from lab.verbs import libibverbs_enums as e


def fork_init() -> None:
    """Nothing to do."""


def is_fork_initialized() -> int:
    """IBV_FORK_UNNEEDED."""
    return int(e.IBV_FORK_UNNEEDED)
