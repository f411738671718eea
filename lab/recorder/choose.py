"""Chooses the best way of recording there is, and says why not better ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lab.recorder.model import Recorder, RecorderError, Start
from lab.recorder.process import COMMANDS, ProcessRecorder, Program

BEST_FIRST: Sequence[Program] = tuple(COMMANDS)


def record(
    programs: Sequence[Program], start: Start, interface: str, path: Path, expression: str = ""
) -> Recorder:
    """Begin recording with the first of `programs` that works.

    Its `why` tells what stood in the way of the others; RecorderError if none works.
    """
    refusals: list[str] = []
    for program in programs:
        try:
            why = "; ".join(refusals)
            return ProcessRecorder(program, start, interface, path, expression=expression, why=why)
        except RecorderError as error:
            refusals.append(str(error))
    raise RecorderError("; ".join(refusals))
