"""What a flow is, and what its queue pair is to be like."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lab.flows.end import End, Layout

Arguments = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Setup:
    """The verbs objects of both ends.

    `access` are the rights on the buffer (IBV_ACCESS_...); `attributes` replace the usual ones of
    QPAttr (`retry_cnt`, `timeout`, ...); `ahead` is added to the client's announced `sq_psn`
    before its queue pair gets it: the lie of the error flows.
    """

    qp_type: Literal["RC", "UC", "UD"] = "RC"
    access: tuple[str, ...] = ("LOCAL_WRITE", "REMOTE_WRITE", "REMOTE_READ", "REMOTE_ATOMIC")
    attributes: Mapping[str, int] = field(default_factory=dict)
    ahead: int = 0
    shared_receive_queue: bool = False


def nothing(_: End) -> None:
    """Nothing to prepare."""


def little(_: Arguments) -> int:
    """Room for messages of at most 4096 bytes."""
    return 4096


@dataclass(frozen=True, slots=True)
class Flow:
    """`prepare` goes before the peer may send (receives, first values), then `run`, at both ends.

    `room(arguments)` is the bytes each half of the buffer needs; `arguments` are the whole numbers
    that a scenario may set, with their defaults. `page` says what it teaches, what is on the wire
    and what to look at.
    """

    name: str
    page: str
    run: Callable[[End], None]
    prepare: Callable[[End], None] = nothing
    room: Callable[[Arguments], int] = little
    arguments: Arguments = field(default_factory=dict)
    setup: Setup = field(default_factory=Setup)

    def layout(self, arguments: Arguments) -> Layout:
        """Halves of whole 64-byte lines, so that the words for atomics are aligned."""
        return Layout(-(-self.room(arguments) // 64) * 64)


def documented(name: str, run: Callable[[End], None], **keys: Any) -> Flow:
    """A flow whose page is the docstring of its `run`."""
    return Flow(name, inspect.getdoc(run) or "", run, **keys)
