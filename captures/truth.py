"""Truth and engine logs: one JSON object a line with `time_ns` and `event`.

Standard library only. Times are given by the caller, so virtual time works too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Self

from captures.files import open_regular, strict_json

MAX_LINE = 1 << 20
"""Longest line believed, bytes."""
TOGETHER = 200
"""Lines read at once."""


class TruthError(Exception):
    """A line that is not an event; says file, line, expected, found."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line: when (nanoseconds), what, and the other keys."""

    time_ns: int
    name: str
    keys: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Any:
        return self.keys[key]

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `key`, or `default` where the event does not have it."""
        return self.keys.get(key, default)


class Log:
    """Appends events to a file; each is whole on disk's way before the next one starts.

    One write call a line, so that killing the process tears at most the last line.
    """

    def __init__(self, path: str | Path) -> None:
        self._stream: BinaryIO = Path(path).open("ab", buffering=0)  # noqa: SIM115 - closed by close()

    def write(self, time_ns: int, event: str, **keys: Any) -> None:
        """Append one event. Raises TypeError for keys that JSON cannot hold."""
        line = json.dumps({"time_ns": time_ns, "event": event, **keys}, separators=(",", ":"))
        self._stream.write(line.encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Truth:
    """A log read: its events in file order, and `damage`, a sentence about a torn last line."""

    events: tuple[Event, ...]
    damage: str = ""

    def named(self, name: str) -> Iterator[Event]:
        """The events called `name`, in file order."""
        return (event for event in self.events if event.name == name)


def read(path: str | Path) -> Truth:
    """Read a whole log.

    A last line without its newline (the writer was killed) is left out and said in `damage`.
    Raises TruthError for a line that is not an event, OSError for a file that cannot be read.
    """
    events: list[Event] = []
    damage = ""
    with open_regular(path) as stream:
        while lines := list(islice(iter(lambda: stream.readline(MAX_LINE + 1), b""), TOGETHER)):
            if len(lines[-1]) <= MAX_LINE and not lines[-1].endswith(b"\n"):
                torn = len(lines.pop())
                number = len(events) + len(lines) + 1
                damage = f"{path}: line {number}: torn after {torn} bytes (writer killed?)"
            for number, keys in enumerate(_objects(path, lines, len(events) + 1), len(events) + 1):
                events.append(_event(keys, f"{path}: line {number}"))
    return Truth(tuple(events), damage)


def _objects(path: str | Path, lines: list[bytes], first: int) -> Iterator[Any]:
    """The JSON value of each of `lines`, the first of which has the number `first`."""
    if all(len(line) <= MAX_LINE for line in lines):
        try:
            # Put together they are read in half the time, and equal keys are kept once. A line that
            # is not one object shows: a string cannot go on beyond the end of its line.
            whole = strict_json(b"[" + b",".join(lines) + b"]")
        except (ValueError, RecursionError):
            whole = []
        if len(whole) == len(lines):
            yield from whole
            return
    for number, line in enumerate(lines, first):
        where = f"{path}: line {number}"
        if len(line) > MAX_LINE:
            raise TruthError(f"{where}: expected at most {MAX_LINE} bytes, found more")
        try:
            yield strict_json(line)
        except (ValueError, RecursionError) as error:
            raise TruthError(f"{where}: expected a JSON object, found: {error}") from None


def _event(keys: Any, where: str) -> Event:
    if not isinstance(keys, dict):
        raise TruthError(f"{where}: expected a JSON object, found {type(keys).__name__}")
    time_ns, name = keys.pop("time_ns", None), keys.pop("event", None)
    if type(time_ns) is not int:
        raise TruthError(f"{where}: expected time_ns to be an integer, found {time_ns!r:.100}")
    if type(name) is not str:
        raise TruthError(f"{where}: expected event to be a name, found {name!r:.100}")
    return Event(time_ns, name, keys)
