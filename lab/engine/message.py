"""The message a responder is in the middle of."""

from __future__ import annotations

from dataclasses import dataclass

from lab.engine.work import ReceiveWork


@dataclass(slots=True)
class Message:
    """`done` bytes of it have come. A WRITE goes to `length` bytes at `va`; a SEND into `work`."""

    family: str
    r_key: int = 0
    va: int = 0
    length: int = 0
    done: int = 0
    work: ReceiveWork | None = None
