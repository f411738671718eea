"""The exchange as a state machine without I/O: bytes in, messages out.

Each end has a state of its own; both ends keep track of both. What may be sent depends on the
sender's state and on the other's. `RULES` is the whole protocol: a key that is missing is an error.
"""

from __future__ import annotations

import struct
from enum import StrEnum
from typing import Literal

from lab.exchange.messages import (
    LIMIT,
    Barrier,
    Bye,
    EndpointInfo,
    ExchangeError,
    Failure,
    Hello,
    Message,
    Ready,
    decode,
    encode,
)

Role = Literal["client", "server"]


class State(StrEnum):
    """Where one end of the exchange stands."""

    SPEAKS = "speaks"  # the client before its hello
    LISTENS = "listens"  # the server before its hello
    GREETED = "greeted"
    ANNOUNCED = "announced"  # its endpoint is known
    READY = "ready"
    WAITING = "waiting"  # has come to a barrier, the other has not
    CLOSED = "closed"
    FAILED = "failed"


# (sender's state, the other's state, message) -> the sender's next state
RULES: dict[tuple[State, State, type[Message]], State] = {
    (State.SPEAKS, State.LISTENS, Hello): State.GREETED,
    (State.LISTENS, State.GREETED, Hello): State.GREETED,
    (State.GREETED, State.GREETED, EndpointInfo): State.ANNOUNCED,
    (State.GREETED, State.ANNOUNCED, EndpointInfo): State.ANNOUNCED,
    (State.ANNOUNCED, State.ANNOUNCED, Ready): State.READY,
    (State.ANNOUNCED, State.READY, Ready): State.READY,
    (State.READY, State.READY, Barrier): State.WAITING,
    (State.READY, State.WAITING, Barrier): State.WAITING,
    (State.READY, State.READY, Bye): State.CLOSED,
    (State.READY, State.CLOSED, Bye): State.CLOSED,
}
# Whoever has not ended may give up at any time, unless the other already has.
RULES |= {
    (own, other, Failure): State.FAILED
    for own in set(State) - {State.CLOSED, State.FAILED}
    for other in set(State) - {State.FAILED}
}

INITIAL: dict[Role, State] = {"client": State.SPEAKS, "server": State.LISTENS}
OTHER: dict[Role, Role] = {"client": "server", "server": "client"}
LENGTH = struct.Struct(">I")


class Session:
    """One end's view of one exchange.

    `send(message)` gives the bytes to write; `receive(data)` takes the bytes that were read and
    `next_message()` gives the messages in them, one at a time (None: more bytes are needed). All
    three raise ExchangeError when the rules are broken; nothing more can be received then, and
    the caller may tell the peer with `send(Failure(...))`.
    """

    def __init__(self, role: Role) -> None:
        self.role = role
        self.states: dict[Role, State] = dict(INITIAL)
        self._buffer = bytearray()
        self._barrier = ""

    @property
    def closed(self) -> bool:
        """Both ends have said bye."""
        return set(self.states.values()) == {State.CLOSED}

    def send(self, message: Message) -> bytes:
        """Move this end by `message`; the bytes are its length and its JSON form."""
        self._move(self.role, message)
        data = encode(message)
        if len(data) > LIMIT:
            raise ExchangeError("oversized", f"expected at most {LIMIT} bytes, found {len(data)}")
        return LENGTH.pack(len(data)) + data

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer; `b""` is the end of the stream."""
        if not data and not self.closed:
            states = self.states
            raise ExchangeError(
                "disconnected",
                f"expected the {OTHER[self.role]}'s bye, found the end of the connection "
                f"({self.role} {states[self.role]}, {OTHER[self.role]} "
                f"{states[OTHER[self.role]]}, {len(self._buffer)} bytes of an unfinished message)",
            )
        self._buffer += data

    def next_message(self) -> Message | None:
        """The next whole message; a length above the limit is an error before its bytes come."""
        if len(self._buffer) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack_from(self._buffer)
        if length > LIMIT:
            raise ExchangeError(
                "oversized", f"expected a message of at most {LIMIT} bytes, found length {length}"
            )
        end = LENGTH.size + length
        if len(self._buffer) < end:
            return None
        message = decode(bytes(self._buffer[LENGTH.size : end]))
        del self._buffer[:end]
        self._move(OTHER[self.role], message)
        return message

    def _move(self, sender: Role, message: Message) -> None:
        own, other = self.states[sender], self.states[OTHER[sender]]
        following = RULES.get((own, other, type(message)))
        if following is None:
            raise ExchangeError(
                "order",
                f"expected {_allowed(own, other)} from the {sender} ({own}, {OTHER[sender]} "
                f"{other}), found {message.type!r}",
            )
        self.states[sender] = following
        if isinstance(message, Barrier):
            self._meet(sender, message.name)

    def _meet(self, sender: Role, name: str) -> None:
        """Both at the same barrier: both go on."""
        if self.states[OTHER[sender]] is not State.WAITING:
            self._barrier = name
            return
        if name != self._barrier:
            raise ExchangeError(
                "barrier",
                f"expected the {sender} at barrier {self._barrier!r}, found it at {name!r}",
            )
        self.states = dict.fromkeys(self.states, State.READY)


def _allowed(own: State, other: State) -> str:
    kinds = [kind.type for (mine, theirs, kind) in RULES if (mine, theirs) == (own, other)]
    return " or ".join(repr(kind) for kind in kinds) or "nothing more"
