"""A link recorded at both its ends, spoilt by hand: the pass must tell just that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.finding import Finding, Verdict
from analysis.verify import verify
from captures.pcapng_writer import Writer
from tests.analysis.scene import MICROSECOND, START, A, Connection, Scene
from tests.analysis.test_traps import _no_tshark  # noqa: F401 - a fixture

Frame = tuple[int, int, bytes]
"""Time (microseconds), interface (0: where A is), bytes."""
IP = 14


def link() -> list[list[Frame]]:
    """Of every packet the frame where it leaves and, 20 microseconds later, where it arrives."""
    scene = Scene()
    Connection(scene).talk()
    pairs = []
    for number, data in enumerate(scene.frames):
        side = 0 if data[IP + 12 : IP + 16] == bytes(map(int, A.split("."))) else 1
        pairs.append([(100 * number, side, data), (100 * number + 20, 1 - side, data)])
    return pairs


def judged(pairs: list[list[Frame]], path: Path) -> tuple[dict[str, Finding], str]:
    """The pass's findings by code, and its summary."""
    with path.open("wb") as stream:
        writer = Writer(stream)
        for name in ("client", "server"):
            writer.interface(name)
        for time, side, data in sorted(frame for pair in pairs for frame in pair):
            writer.packet(data, START + time * MICROSECOND, interface=side)
    (result,) = [r for name, r in verify(path).passes.items() if name == "link-faults"]
    assert result.verdict is Verdict.PASS
    return {finding.code: finding for finding in result.findings}, result.summary


def number_of(pairs: list[list[Frame]], frame: Frame) -> int:
    """The number of `frame` in the file."""
    return sorted(f for pair in pairs for f in pair).index(frame) + 1


def test_a_link_that_spoils_nothing(tmp_path: Path) -> None:
    pairs = link()
    findings, summary = judged(pairs, tmp_path / "link.pcapng")
    assert findings == {}
    assert summary == f"{len(pairs)} RoCE packets sent; all arrived"


def lost(pair: list[Frame]) -> int:
    del pair[1]
    return 0


def damaged(pair: list[Frame]) -> int:
    time, side, data = pair[1]
    pair[1] = time, side, data[:60] + bytes([data[60] ^ 4]) + data[61:]
    return 1


def duplicated(pair: list[Frame]) -> int:
    time, side, data = pair[1]
    pair.append((time + 5, side, data))
    return 2


def reordered(pair: list[Frame]) -> int:
    time, side, data = pair[1]
    pair[1] = time + 150, side, data  # the next arrives 100 later
    return 1


def marked(pair: list[Frame]) -> int:
    time, side, data = pair[1]
    pair[1] = time, side, data[: IP + 1] + bytes([data[IP + 1] | 3]) + data[IP + 2 :]
    return 1


@pytest.mark.parametrize("spoil", [lost, damaged, duplicated, reordered, marked])
@pytest.mark.parametrize("number", [2, 3])  # the first and the middle packet of a SEND
def test_one_packet_spoilt(
    tmp_path: Path, spoil: Callable[[list[Frame]], int], number: int
) -> None:
    pairs = link()
    which = spoil(pairs[number])
    findings, summary = judged(pairs, tmp_path / "link.pcapng")
    assert list(findings) == [f"link-{spoil.__name__}"]
    (finding,) = findings.values()
    assert finding.frames == (number_of(pairs, pairs[number][which]),)
    assert summary == f"{len(pairs)} RoCE packets sent; 1 {spoil.__name__}"


def test_a_packet_sent_again_after_it_was_lost(tmp_path: Path) -> None:
    pairs = link()
    again = [(time + 100_000, side, data) for time, side, data in pairs[2]]
    lost(pairs[2])
    pairs.append(again)
    findings, summary = judged(pairs, tmp_path / "link.pcapng")
    assert findings["link-lost"].frames == (number_of(pairs, pairs[2][0]),)
    assert summary == f"{len(pairs)} RoCE packets sent; 1 lost"


def test_a_capture_made_at_one_place(tmp_path: Path) -> None:
    scene = Scene()
    Connection(scene).talk()
    results = verify(scene.write(tmp_path / "here.pcapng"))
    assert results.passes["link-faults"].verdict is Verdict.NOT_APPLICABLE
