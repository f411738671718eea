"""A run directory: `run.json` and the evidence beside it (ARCHITECTURE.md, "A run is a directory").

Standard library only: it is written inside bare guests too.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from captures.files import open_regular, read_whole, strict_json

SCHEMA = 1
FILE = "run.json"
MAX_SIZE = 1 << 24
"""Longest run.json believed, bytes."""
EVIDENCE = (
    "scenario.toml",
    "faults.toml",
    "capture.pcapng",
    "truth-*.jsonl",
    "keylog.txt",
    "log-*.jsonl",
    "output-*.txt",
    "console-*.log",
)
"""Files, as patterns, whose SHA-256 stands in `run.json`."""

Status = Literal["complete", "failed", "interrupted"]


class RunError(Exception):
    """A run directory that cannot be used; says where, expected, found, what to do."""


@dataclass(frozen=True, slots=True)
class Run:
    """What `run.json` says. Times are UTC nanoseconds since 1970; `sha256` maps file to hex."""

    id: str
    scenario: str
    backend: str
    status: Status
    started_ns: int
    ended_ns: int
    reason: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    hosts: dict[str, Any] = field(default_factory=dict)
    capture: dict[str, Any] = field(default_factory=dict)
    endpoints: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)


# JSON types of each key; a bool is an int to Python and is told apart below.
_NUMBER = (int, type(None))
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("id", "scenario", "backend", "status", "reason"), (str,)),
    **dict.fromkeys(("started_ns", "ended_ns"), (int,)),
    **dict.fromkeys(("options", "hosts", "capture", "endpoints", "versions", "sha256"), (dict,)),
}
_CAPTURE_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("file", "method", "why"), (str,)),
    **dict.fromkeys(("received", "dropped"), _NUMBER),
}
MAX_NUMBER = (1 << 63) - 1
"""Largest time, nanoseconds, and count believed."""
_REQUIRED = ("id", "scenario", "backend", "status", "started_ns", "ended_ns")


def evidence(directory: str | Path) -> dict[str, str]:
    """SHA-256 (hex) of every evidence file there is in `directory`, by file name."""
    found = [path for pattern in EVIDENCE for path in Path(directory).glob(pattern)]
    return {path.name: sha256(path) for path in sorted(found)}


def sha256(path: Path) -> str:
    """SHA-256 of a file as hex; raises OSError if it cannot be read."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def save(directory: str | Path, run: Run) -> None:
    """Write `run.json` whole or not at all; raises OSError where that is not possible."""
    target = Path(directory) / FILE
    part = target.with_suffix(".part")
    try:
        with part.open("w", encoding="utf-8") as stream:
            json.dump({"schema": SCHEMA, **asdict(run)}, stream, indent=2)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def load(directory: str | Path) -> Run:
    """Read `run.json`. Raises RunError where it is missing, garbled, or of a later schema."""
    path = Path(directory) / FILE
    try:
        document = strict_json(read_whole(path, MAX_SIZE))
    except FileNotFoundError:
        raise RunError(
            f"{directory}: expected a run directory, found no {FILE} in it;"
            " name a directory made by `rocelab run`, or a capture file"
        ) from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: expected JSON, found: {error}; run the scenario again") from None
    if not isinstance(document, dict):
        raise RunError(f"{path}: expected a JSON object, found {_kind(document)}")
    schema = document.get("schema")
    if schema != SCHEMA:
        raise RunError(
            f"{path}: expected schema {SCHEMA}, found {schema!r}; use the version that made it"
        )
    _check_types(path, document, _TYPES)
    missing = [key for key in _REQUIRED if key not in document]
    if missing:
        raise RunError(f"{path}: expected the keys {', '.join(missing)}, found none of them")
    if document["status"] not in get_args(Status):
        raise RunError(
            f"{path}: expected status {', '.join(get_args(Status))}, found {document['status']!r}"
        )
    run = Run(**{key: document[key] for key in _TYPES if key in document})
    _check_types(path, run.capture, _CAPTURE_TYPES)
    name = run.capture.get("file", "-")
    if name in {"", "..", "."} or name != Path(name).name or not name.isprintable():
        raise RunError(f"{path}: expected file to be a name in the directory, found {name!r:.100}")
    for digest in run.sha256.values():
        if not isinstance(digest, str):
            raise RunError(f"{path}: expected sha256 to be hex, found {_kind(digest)}")
    return run


def edited(directory: str | Path, run: Run) -> list[str]:
    """What is not as `run.json` recorded it: a sentence for each evidence file changed, missing or
    not recorded. Empty when all evidence stands as it was written.
    """
    found = evidence(directory)
    problems = []
    for name, digest in run.sha256.items():
        if name not in found:
            problems.append(f"{name}: missing")
        elif found[name] != digest:
            problems.append(f"{name}: expected SHA-256 {digest}, found {found[name]}")
    problems += [f"{name}: not recorded in {FILE}" for name in found if name not in run.sha256]
    return problems


def _check_types(path: Path, document: dict[str, Any], types: dict[str, tuple[type, ...]]) -> None:
    for key, kinds in types.items():
        value = document.get(key)
        if key in document and type(value) not in kinds:
            raise RunError(
                f"{path}: expected {key} to be {kinds[0].__name__}, found {_kind(value)}"
            )
        if type(value) is int and not 0 <= value <= MAX_NUMBER:
            raise RunError(f"{path}: expected {key} from 0 to 2^63-1, found another")


def _kind(value: object) -> str:
    return type(value).__name__
