"""The identification told from the ICRC."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dissectors import icrc
from lab.engine.burst import Burst, Path
from lab.engine.decode import Refused, Run, decode
from lab.engine.encode import encode
from lab.engine.identification import identification
from lab.engine.outer import outer_state
from tests.lab.engine.test_codec import train

PATH = Path(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]))
ids = st.integers(0, 0xFFFF)


@given(ids, ids, st.binary(min_size=12, max_size=300))
def test_any_identification_is_found(actual: int, assumed: int, data: bytes) -> None:
    length = len(data) + icrc.SIZE
    found, computed = (
        icrc.over_transport(data, outer_state(PATH, 4791, length, number))
        for number in (actual, assumed)
    )
    assert identification(assumed, found ^ computed, len(data)) == actual


def test_segments_that_come_one_by_one_are_accepted() -> None:
    """As over a veth pair without segmentation offload: the n-th has identification n."""
    bursts = encode(train(256, 5000, 7), 4791, 64)
    for burst in bursts:
        for datagram in burst.datagrams():
            (found,) = decode(datagram._replace(identification=0), identifications=64)
            assert isinstance(found, Run)


def test_identifications_beyond_those_expected_are_refused() -> None:
    (burst,) = encode(train(256, 8, 7), 4791, 1)
    for number, accepted in ((63, True), (64, False), (0x9B56, False)):
        data = bytes(burst.data)[:-4]
        state = outer_state(PATH, 4791, len(burst.data), number)
        sealed = data + icrc.to_wire(icrc.over_transport(data, state))
        (found,) = decode(Burst(PATH, 4791, sealed, len(sealed)), identifications=64)
        assert isinstance(found, Run) == accepted


@given(st.integers(0, 255), st.integers(1, 255))
def test_damage_is_not_taken_for_another_identification(place: int, change: int) -> None:
    (burst,) = encode(train(256, 240, 7), 4791, 1)
    data = bytearray(burst.data)
    place %= len(data)
    data[place] ^= change
    (found,) = decode(Burst(PATH, 4791, data, len(data)), identifications=64)
    assert isinstance(found, Refused) or place == 4
