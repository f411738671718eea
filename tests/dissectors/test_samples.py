"""Every frame of every sample capture of real Soft-RoCE traffic."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from dissectors.icrc import ICRC_NOT_ROCE, ICRC_OK
from dissectors.packet import Packet
from tests.dissectors.samples import FILES, SAMPLES, frames


def stated_counts() -> dict[str, tuple[int, int]]:
    """README.txt beside the samples: file -> (RoCE packets, other frames), counted when
    recorded.
    """
    text = (SAMPLES / "README.txt").read_text()
    pattern = r"^(\w+\.pcap)\n(?:  .*\n)*?  RoCE packets (\d+), ICRC valid \d+, other frames (\d+)"
    found = re.findall(pattern, text, flags=re.MULTILINE)
    return {name: (int(roce), int(other)) for name, roce, other in found}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_frame_is_rebuilt_and_every_icrc_is_right(path: Path) -> None:
    for number, original_length, frame in frames(path):
        packet = Packet.parse(frame, original_length=original_length)
        assert packet.damage is None, (number, packet)
        assert packet.build() == frame, number
        assert packet.icrc_status in (ICRC_OK, ICRC_NOT_ROCE), (number, packet)


@pytest.mark.parametrize(("name", "counts"), stated_counts().items())
def test_as_many_roce_packets_as_were_recorded(name: str, counts: tuple[int, int]) -> None:
    found = Counter(Packet.parse(frame).icrc_status for _, _, frame in frames(SAMPLES / name))
    assert (found[ICRC_OK], found[ICRC_NOT_ROCE]) == counts


def test_the_counts_were_found() -> None:
    assert len(stated_counts()) >= 28
