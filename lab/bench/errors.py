"""What stands in the way of measuring."""

from __future__ import annotations


class BenchError(Exception):
    """A sentence: what was expected, and what was found."""
