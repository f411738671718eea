from __future__ import annotations

import contextlib
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.exchange.messages import (
    LIMIT,
    TYPES,
    Barrier,
    Bye,
    EndpointInfo,
    ExchangeError,
    Failure,
    Hello,
    Message,
    Ready,
    encode,
)
from lab.exchange.session import OTHER, RULES, Role, Session, State

HELLO = Hello(name="client", scenario="secure-flow", connection=0)
ENDPOINT = EndpointInfo(
    qpn=17, sq_psn=5, gid="::ffff:10.0.0.1", path_mtu=1024, addr=4096, r_key=1, length=64
)
EXAMPLES: dict[type[Message], Message] = {
    Hello: HELLO,
    EndpointInfo: ENDPOINT,
    Ready: Ready(),
    Barrier: Barrier(name="here"),
    Bye: Bye(),
    Failure: Failure(code="flow", message="gave up"),
}
WHOLE: list[tuple[Role, Message]] = [
    ("client", HELLO),
    ("server", HELLO),
    ("server", ENDPOINT),
    ("client", ENDPOINT),
    ("client", Ready()),
    ("server", Ready()),
    ("server", Barrier(name="one")),
    ("client", Barrier(name="one")),
    ("client", Barrier(name="two")),
    ("server", Barrier(name="two")),
    ("client", Bye()),
    ("server", Bye()),
]


def pair() -> dict[Role, Session]:
    return {"client": Session("client"), "server": Session("server")}


def deliver(sessions: dict[Role, Session], sender: Role, message: Message) -> None:
    receiver = sessions[OTHER[sender]]
    receiver.receive(sessions[sender].send(message))
    assert receiver.next_message() == message
    assert receiver.next_message() is None


def test_whole_exchange() -> None:
    sessions = pair()
    for sender, message in WHOLE:
        assert not sessions["client"].closed
        deliver(sessions, sender, message)
        assert sessions["client"].states == sessions["server"].states
    assert sessions["client"].closed
    sessions["client"].receive(b"")


def test_both_ends_may_speak_before_they_listen() -> None:
    """Messages that cross on the way are in order for whoever receives them."""
    sessions = pair()
    deliver(sessions, "client", HELLO)
    deliver(sessions, "server", HELLO)
    for message in (ENDPOINT, Ready(), Barrier(name="x"), Barrier(name="y"), Bye()):
        crossing = {role: sessions[role].send(message) for role in sessions}
        for role, data in crossing.items():
            sessions[OTHER[role]].receive(data)
            assert sessions[OTHER[role]].next_message() == message
    assert sessions["client"].closed
    assert sessions["server"].closed


@pytest.mark.parametrize("sender", ["client", "server"])
def test_every_state_and_message(sender: Role) -> None:
    """The table is the protocol: in it the state moves, outside it ExchangeError names the rule."""
    for own, other, kind in product(State, State, TYPES.values()):
        for session in pair().values():
            session.states = {sender: own, OTHER[sender]: other}
            sends = session.role == sender
            message = EXAMPLES[kind]
            if isinstance(message, Barrier) and other is State.WAITING:
                session._barrier = message.name
            if not sends:
                session.receive(framed(message))
            if (own, other, kind) in RULES:
                assert (session.send(message) if sends else session.next_message()) is not None
                together = kind is Barrier and other is State.WAITING
                after = State.READY if together else RULES[own, other, kind]
                assert session.states[sender] is after
            else:
                with pytest.raises(ExchangeError, match=f"expected .* found '{kind.type}'"):
                    session.send(message) if sends else session.next_message()
                assert session.states == {sender: own, OTHER[sender]: other}


def framed(message: Message) -> bytes:
    data = encode(message)
    return len(data).to_bytes(4, "big") + data


@given(st.lists(st.integers(1, 900), max_size=40))
def test_however_the_bytes_are_cut(cuts: list[int]) -> None:
    stream = b"".join(framed(message) for sender, message in WHOLE if sender == "client")
    server, got = Session("server"), []
    replies = iter([message for sender, message in WHOLE if sender == "server"])
    position = 0
    for cut in [*cuts, len(stream)]:
        chunk, position = stream[position : position + cut], position + cut
        if chunk:
            server.receive(chunk)
        while (message := server.next_message()) is not None:
            got.append(message)
            server.send(next(replies))
    assert got == [message for sender, message in WHOLE if sender == "client"]
    assert server.closed


@given(st.binary(max_size=2000))
def test_any_bytes(data: bytes) -> None:
    server = Session("server")
    if data:
        server.receive(data)
    with contextlib.suppress(ExchangeError):
        assert server.next_message() is None


@pytest.mark.parametrize("length", [LIMIT + 1, 0xFFFFFFFF])
def test_oversized_is_refused_before_its_bytes_come(length: int) -> None:
    server = Session("server")
    server.receive(length.to_bytes(4, "big"))
    with pytest.raises(ExchangeError, match=f"at most 4096 bytes, found length {length}") as caught:
        server.next_message()
    assert caught.value.code == "oversized"


def test_largest_message_fits() -> None:
    data = framed(HELLO)[4:].ljust(LIMIT)
    server = Session("server")
    server.receive(LIMIT.to_bytes(4, "big") + data)
    assert server.next_message() == HELLO


def test_end_of_stream_in_the_middle() -> None:
    sessions = pair()
    deliver(sessions, "client", HELLO)
    sessions["server"].receive(b"\0\0")
    with pytest.raises(ExchangeError, match="client greeted, 2 bytes of an unfinished") as caught:
        sessions["server"].receive(b"")
    assert caught.value.code == "disconnected"


def test_barriers_of_different_names_do_not_meet() -> None:
    sessions = pair()
    for sender, message in WHOLE[:6]:
        deliver(sessions, sender, message)
    sessions["client"].receive(sessions["server"].send(Barrier(name="read")))
    assert sessions["client"].next_message() == Barrier(name="read")
    with pytest.raises(ExchangeError, match="at barrier 'read', found it at 'write'"):
        sessions["client"].send(Barrier(name="write"))
