"""What a snap length leaves: every prefix of a frame gives the headers that are whole."""

from __future__ import annotations

import pytest

from dissectors.bth import BTH
from dissectors.damage import DamageCode
from dissectors.icrc import ICRC_NOT_ROCE, ICRC_UNCHECKABLE
from dissectors.packet import Packet
from tests.dissectors import matrix
from tests.dissectors.samples import FILES, frames

HEADERS_END = 250
"""Bytes within which all headers of a frame without management lie."""


def kinds() -> list[tuple[int, bytes]]:
    """A frame of each shape in the samples, and every opcode and carrier."""
    shapes: dict[object, tuple[int, bytes]] = {}
    for file in FILES:
        for _, _, frame in frames(file):
            packet = Packet.parse(frame)
            bth = packet.get(BTH)
            shape = (*map(type, packet.headers), bth and bth.opcode, bool(packet.payload))
            shapes.setdefault(shape, (1, frame))
    made = [(kind, frame) for kind, all_of in matrix.by_link_type().items() for _, frame in all_of]
    return [*shapes.values(), *made[:: 1 + len(made) // 400]]


def check(frame: bytes, link_type: int, end: int, whole: Packet) -> None:
    cut = Packet.parse(frame[:end], link_type, original_length=len(frame))
    assert cut.build() == frame[:end]
    assert cut.tree() is not None
    assert str(cut)
    assert cut.damage is not None
    assert cut.damage.code in (DamageCode.CUT, whole.damage.code if whole.damage else None)
    there = at = 0
    for header in whole.headers:
        at += header.header_length
        there += at <= end
    assert cut.headers[:there] == whole.headers[:there]
    # A variable part may be there in part; nothing is made up beyond it.
    assert len(cut.headers) <= there + 1
    assert cut.icrc_status == (ICRC_UNCHECKABLE if BTH in cut else ICRC_NOT_ROCE)
    assert whole.payload.startswith(cut.payload) or whole.damage or there < len(whole.headers)


@pytest.mark.parametrize("part", range(4))
def test_every_prefix(part: int) -> None:
    for link_type, frame in kinds()[part::4]:
        whole = Packet.parse(frame, link_type)
        ends = {
            *range(min(len(frame), HEADERS_END)),
            len(frame) - 1,
            len(frame) - 4,
            len(frame) - 5,
        }
        for end in sorted(ends):
            check(frame, link_type, end, whole)


def test_only_the_trailer_is_cut() -> None:
    """Without its Ethernet padding the packet is all there, but the file says that it was cut."""
    _, headers, _ = matrix.CARRIERS["ipv4"]
    frame = matrix.roce(matrix.Opcode.RC_ACKNOWLEDGE, headers).build()
    packet = Packet.parse(frame, original_length=len(frame) + 4)
    assert packet.icrc is not None
    assert packet.damage is not None
