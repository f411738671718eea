"""The compiled decoder says what parsing one by one says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures.model import Frame
from dissectors.check import check
from dissectors.decode import FEW, decode
from dissectors.mad import MAD
from dissectors.packet import Packet
from dissectors.rules import HEADERS, Frames
from dissectors.table import PacketTable, cut
from dissectors.udp import ROCE_PORT
from dissectors.walk import PART
from tests.dissectors import matrix
from tests.dissectors.samples import FILES, frames

GENERATED = [
    (link_type, frame) for link_type, found in matrix.by_link_type().items() for _, frame in found
]


def both(pieces: list[tuple[int, bytes, int]], roce_port: int = ROCE_PORT) -> None:
    """Decode (link type, bytes, original length) both ways and compare every column."""
    data = np.frombuffer(b"".join(frame for _, frame, _ in pieces) or b"\0", np.uint8)
    lengths = np.array([len(frame) for _, frame, _ in pieces], np.uint32)
    kinds, link = np.unique([kind for kind, _, _ in pieces], return_inverse=True)
    places = Frames(
        position=np.cumsum(lengths, dtype=np.int64) - lengths,
        captured=lengths,
        original=np.array([original for _, _, original in pieces], np.uint32),
        link=link.astype(np.uint32),
    )
    link_types = [int(kind) for kind in kinds]
    compiled = decode(data, places, link_types, roce_port=roce_port, few=0)
    parsed = decode(data, places, link_types, roce_port=roce_port, few=len(pieces))
    status = check(
        data,
        places.position,
        covered=compiled.covered,
        payload_offset=compiled.payload_offset,
        payload_length=compiled.payload_length,
        status=compiled.icrc_status,
    )
    compiled = compiled._replace(icrc_status=status)
    for name in compiled._fields:
        if name in ("hard", "store", "covered"):
            continue
        ours, theirs = getattr(compiled, name), getattr(parsed, name)
        wrong = np.flatnonzero((ours != theirs).reshape(len(pieces), -1).any(axis=1))
        assert not len(wrong), (name, wrong[:5], ours[wrong[:5]], theirs[wrong[:5]])
    assert np.array_equal(compiled.store, parsed.store)


def test_every_sample() -> None:
    both([(1, frame, length) for path in FILES for _, length, frame in frames(path)])


def test_every_opcode_over_every_carrier() -> None:
    both([(link_type, frame, len(frame)) for link_type, frame in GENERATED])


@pytest.mark.parametrize("cut", [0, 1, 14, 34, 42, 54, 60, 96])
def test_cut_frames(cut: int) -> None:
    both([(link_type, frame[:cut], len(frame)) for link_type, frame in GENERATED])


def test_another_port() -> None:
    moved = [
        (1, frame[:36] + (14791).to_bytes(2) + frame[38:], len(frame))
        for path in FILES[:3]
        for _, _, frame in frames(path)
    ]
    both(moved, roce_port=14791)


@settings(max_examples=60)
@given(st.data())
def test_mangled_frames(data: st.DataObject) -> None:
    pieces = []
    for link_type, frame in data.draw(st.lists(st.sampled_from(GENERATED), min_size=1)):
        mangled = bytearray(frame)
        for place in data.draw(st.lists(st.integers(0, len(mangled) - 1), max_size=6)):
            mangled[place] = data.draw(st.integers(0, 255))
        original = len(mangled) + data.draw(st.sampled_from([0, 0, 7, 1000]))
        kept = bytes(mangled[: data.draw(st.integers(0, len(mangled)))])
        pieces.append((link_type, kept, original))
    both(pieces)


def test_the_table_of_headers_fits_its_mask() -> None:
    assert len(HEADERS) <= 64


@pytest.mark.parametrize("asked_first", [True, False])
def test_icrc_is_checked_when_asked_for(asked_first: bool) -> None:
    found = matrix.by_link_type()[1] * 2
    packets = [Packet.parse(frame) for _, frame in found]
    table = PacketTable.from_frames(
        Frame(number, 0, frame, len(frame), 0, 1, 0) for number, (_, frame) in enumerate(found, 1)
    )
    assert len(table) > FEW
    rows = np.arange(len(table)) % 3 == 0
    if asked_first:
        assert table["icrc_status"].tolist() == [packet.icrc_status for packet in packets]
    some = table.select(rows)
    assert some["icrc_status"].tolist() == [packet.icrc_status for packet in packets[::3]]


def test_threads_decode_as_one_does() -> None:
    frames_of = [frame for kind, frame in GENERATED if kind == 1] * 110
    data = np.frombuffer(b"".join(frames_of), np.uint8)
    lengths = np.array([len(frame) for frame in frames_of], np.uint32)
    ends = np.cumsum(lengths, dtype=np.int64)
    places = Frames(ends - lengths, lengths, lengths, np.zeros(len(lengths), np.uint32))
    alone = decode(data, places, [1], roce_port=ROCE_PORT)
    with ThreadPoolExecutor(3) as threads:
        together = decode(data, places, [1], roce_port=ROCE_PORT, spread=threads.map)
    assert len(lengths) > 2 * PART
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one, other)


def test_a_field_of_no_packets():
    """A header that no packet carries: an empty column, whatever the field's width."""
    rows = np.zeros((0, MAD.size), np.uint8)
    for field in MAD.fields:
        assert cut(rows, field).shape == (0,)
