"""The starting PSNs of captures, of run directories, of lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis import draws
from analysis.draws import Draw
from analysis.verify import Unreadable, find, gather, readable


def collect(paths: Sequence[Path], values: Path | None, keylog: Path | None) -> list[Draw]:
    """All draws, file by file in the order given. Raises Unreadable."""
    found: list[Draw] = []
    for path in paths:
        with readable(path):
            found += draws.of_capture(gather(find(path, keylog, ()), ask_bth=False))
    if values is not None:
        try:
            with readable(values):
                found += draws.of_values(values)
        except ValueError as error:
            raise Unreadable(str(error)) from error
    return found
