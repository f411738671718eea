"""The UDP wire's own doings; that it carries RoCE is tested by all that uses it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.engine.burst import Burst, Path
from lab.wire import udp
from lab.wire.udp import UdpWire

A, B = "127.0.0.51", "127.0.0.52"
SEGMENT, COUNT = 64, 32


@pytest.fixture(params=[False, True], ids=["apart", "gathered"])
def wires(request: pytest.FixtureRequest) -> Iterator[tuple[UdpWire, UdpWire]]:
    a, b = UdpWire(A), UdpWire(B, gather=request.param)
    yield a, b
    a.close()
    b.close()


def arriving(a: UdpWire, b: UdpWire) -> bytes:
    """Of a train of datagrams of which each is all of one byte, the bytes that arrive."""
    data = b"".join(bytes([number]) * SEGMENT for number in range(COUNT))
    a.send(Burst(Path(a.address.packed, b.address.packed), 4791, data, SEGMENT), 0)
    found = b"".join(bytes(burst.data) for burst in b.receive(0))
    assert len(found) % SEGMENT == 0
    return found[::SEGMENT]


def test_loses_nothing_unasked(wires: tuple[UdpWire, UdpWire]) -> None:
    assert arriving(*wires) == bytes(range(COUNT))


def test_loses_datagrams_one_by_one(wires: tuple[UdpWire, UdpWire]) -> None:
    """Binomial, n = 3200: 8 standard deviations off once in 10^15 runs."""
    a, b = wires
    b.lose(0.25)
    found = [arriving(a, b) for _ in range(100)]
    assert 2400 - 196 < sum(map(len, found)) < 2400 + 196
    assert all(list(numbers) == sorted(set(numbers)) for numbers in found)
    assert len(set(found)) > 50
    b.lose(0)
    assert arriving(a, b) == bytes(range(COUNT))
    b.lose(0)


@pytest.mark.parametrize("payload", [272, 528, 1040, 2064, 4112])
def test_room_is_what_the_kernel_keeps(payload: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "RECEIVE_BUFFER", 1 << 17)
    a, b = UdpWire(A), UdpWire(B)
    path = Path(a.address.packed, b.address.packed)
    count = b.room(payload)
    for _ in range(count):
        a.send(Burst(path, 4791, bytes(payload), payload), 0)
    found = 0
    while arrived := list(b.receive(0)):
        found += len(arrived)
    a.close()
    b.close()
    assert found == count > 10
