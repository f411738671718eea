"""Recoveries written by hand, packet by packet: each must be read as what it is."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from analysis.departures import departures
from analysis.recovery import Reaction, recoveries
from analysis.verify import verify
from captures.pcapng_writer import Writer
from dissectors.aeth import AETH
from dissectors.header import Header
from dissectors.opcode import Opcode
from dissectors.reth import RETH
from tests.analysis.scene import MICROSECOND, MTU, START, Connection, Scene

TIMEOUT_NS = 4096 << 14
MILLISECOND = 1000
"""In microseconds, as times are here."""
ACK, NAK = AETH(syndrome=0x1F), AETH(syndrome=0x60)
FIRST, MIDDLE, LAST = (Opcode[f"RC_RDMA_WRITE_{word}"] for word in ("FIRST", "MIDDLE", "LAST"))
RESPONSES = {word: Opcode[f"RC_RDMA_READ_RESPONSE_{word}"] for word in ("FIRST", "MIDDLE", "LAST")}


@dataclass
class Link:
    """A link between a (interface 0) and b; PSNs from a's sq_psn on, times in microseconds."""

    scene: Scene = field(default_factory=Scene)
    now: int = 0

    def __post_init__(self) -> None:
        self.connection = Connection(self.scene)
        self.frames: list[tuple[int, int, bytes]] = []

    def packet(
        self,
        side: str,
        opcode: Opcode,
        place: int,
        *headers: Header,
        after: int = 100,
        lost: bool = False,
    ) -> None:
        """A packet of a's requests or of b's answers to them, `after` the one before."""
        self.now += after
        full = opcode.has_payload and not opcode.ends_message
        psn = self.connection.a.sq_psn + place
        payload = bytes([place]) * (MTU if full else 8) if opcode.has_payload else b""
        self.connection.packet(side, opcode, psn, *headers, payload=payload)
        frame = self.scene.frames[-1]
        here = 0 if side == "a" else 1
        self.frames.append((self.now, here, frame))
        if not lost:
            self.frames.append((self.now + 20, 1 - here, frame))

    def write(self, first: int, *, after: int = 100, lost: int = -1) -> None:
        """The packets of a WRITE in three packets at places 0 to 2, from `first` on."""
        for place, opcode in enumerate((FIRST, MIDDLE, LAST)):
            if place >= first:
                headers = [RETH(dma_len=2 * MTU + 8)] if opcode is FIRST else []
                self.packet("a", opcode, place, *headers, after=after, lost=place == lost)
                after = 100

    def ack(self, place: int) -> None:
        self.packet("b", Opcode.RC_ACKNOWLEDGE, place, ACK.replace(msn=1))

    def file(self, folder: Path) -> Path:
        """The capture, with other traffic, so that both sides are seen to be one link."""
        for place in range(3, 9):
            self.packet("a", Opcode.RC_SEND_ONLY, place)
            self.ack(place)
        path = folder / "link.pcapng"
        with path.open("wb") as stream:
            writer = Writer(stream)
            for name in ("client", "server"):
                writer.interface(name)
            for time, side, data in sorted(self.frames):
                writer.packet(data, START + time * MICROSECOND, interface=side)
        return path

    def reaction(self, folder: Path) -> Reaction:
        """The one there is."""
        (found,) = recoveries(verify(self.file(folder)).context)
        return found


def test_a_nak_and_back_to_it(tmp_path: Path) -> None:
    link = Link()
    link.write(0, lost=1)
    link.packet("b", Opcode.RC_ACKNOWLEDGE, 1, NAK)
    link.write(1)
    link.ack(2)
    found = link.reaction(tmp_path)
    fault = found.fault
    assert (fault.kind, fault.sender, fault.of, fault.place, fault.nth) == ("lost", "a", "a", 1, 1)
    assert fault.opcode == "RDMA WRITE MIDDLE"
    assert str(found) == "NAK 1; 1-2 again"
    assert departures(found, TIMEOUT_NS) == []


def test_a_timeout(tmp_path: Path) -> None:
    link = Link()
    link.write(0, lost=2)
    link.write(0, after=68 * MILLISECOND)
    link.ack(2)
    found = link.reaction(tmp_path)
    assert str(found) == "timeout, 0-2 again"
    assert departures(found, TIMEOUT_NS) == []


def test_a_timeout_too_early(tmp_path: Path) -> None:
    link = Link()
    link.write(0, lost=2)
    link.write(0, after=20 * MILLISECOND)
    link.ack(2)
    (found,) = departures(link.reaction(tmp_path), TIMEOUT_NS)
    assert found.end == "a"
    assert found.text.startswith("sends 0-2 again after 20 ms, before its timer's 67 ms are over")


def test_a_second_nak_for_the_same_gap(tmp_path: Path) -> None:
    link = Link()
    link.write(0, lost=1)
    for _ in range(2):
        link.packet("b", Opcode.RC_ACKNOWLEDGE, 1, NAK)
    link.write(1)
    link.ack(2)
    (found,) = departures(link.reaction(tmp_path), TIMEOUT_NS)
    assert (found.end, found.text[:20]) == ("b", "sends a second NAK 1")


def test_a_nak_that_is_not_followed(tmp_path: Path) -> None:
    link = Link()
    link.write(0, lost=1)
    link.packet("b", Opcode.RC_ACKNOWLEDGE, 1, NAK)
    link.write(0)
    link.ack(2)
    found = link.reaction(tmp_path)
    assert str(found) == "NAK 1; 0-2 again"
    (departure,) = departures(found, TIMEOUT_NS)
    assert departure.text.startswith("goes on from 0 after NAK 1")


def test_a_timer_that_strikes_before_the_nak(tmp_path: Path) -> None:
    """As rxe's may: the NAK that comes then is of no use, and no later repetition's reason."""
    link = Link()
    link.write(0, lost=1)
    link.write(0)
    link.packet("b", Opcode.RC_ACKNOWLEDGE, 1, NAK)
    link.ack(2)
    link.packet("a", Opcode.RC_SEND_ONLY, 3)
    link.packet("a", Opcode.RC_SEND_ONLY, 3, after=68 * MILLISECOND)
    found = link.reaction(tmp_path)
    first, second = found.resends[:2]
    assert (first.why, first.first, second.why, second.first) == ("timeout", 0, "timeout", 3)


def test_nothing_lost_and_yet_sent_again(tmp_path: Path) -> None:
    link = Link()
    link.write(0)
    link.write(0, after=68 * MILLISECOND)
    link.ack(2)
    found = link.reaction(tmp_path)
    assert found.fault.kind == "unprovoked"
    assert str(found) == "timeout, 0-2 again"


def read(link: Link, first: int, *words: str, after: int = 100, lost: int = -1) -> None:
    """A READ of what is left from place `first` of three packets, and its responses."""
    left = RETH(dma_len=(2 - first) * MTU + 8)
    link.packet("a", Opcode.RC_RDMA_READ_REQUEST, first, left, after=after)
    for place, word in enumerate(words, first):
        headers = [] if word == "MIDDLE" else [ACK.replace(msn=1)]
        link.packet("b", RESPONSES[word], place, *headers, lost=place == lost)


def test_a_lost_response_asked_for_at_once(tmp_path: Path) -> None:
    link = Link()
    read(link, 0, "FIRST", "MIDDLE", "LAST", lost=1)
    read(link, 1, "FIRST", "LAST")
    found = link.reaction(tmp_path)
    assert (found.fault.sender, found.fault.of, found.fault.place) == ("b", "a", 1)
    assert str(found) == "gap, 1-2 again; answered again 1-2"
    assert departures(found, TIMEOUT_NS) == []


def test_an_answer_that_does_not_begin_anew(tmp_path: Path) -> None:
    """As rxe answers a READ asked again."""
    link = Link()
    read(link, 0, "FIRST", "MIDDLE", "LAST", lost=1)
    read(link, 1, "MIDDLE", "LAST")
    (found,) = departures(link.reaction(tmp_path), TIMEOUT_NS)
    assert (found.end, "RDMA READ RESPONSE MIDDLE" in found.text) == ("b", True)


def rocelab(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lab.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """The same fault; a NAK in one capture, a timeout in the other."""
    by_nak, by_timeout = Link(), Link()
    by_nak.write(0, lost=1)
    by_nak.packet("b", Opcode.RC_ACKNOWLEDGE, 1, NAK)
    by_nak.write(1)
    by_timeout.write(0, lost=1)
    by_timeout.write(0, after=68 * MILLISECOND)
    paths = []
    for name, link in (("one", by_nak), ("other", by_timeout)):
        (tmp_path / name).mkdir()
        link.ack(2)
        paths.append(link.file(tmp_path / name))
    return paths[0], paths[1]


def test_compare_says_what_differs(two: tuple[Path, Path]) -> None:
    done = rocelab("compare", *two, "--json")
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert document["same"] is False
    (fault,) = document["faults"]
    assert (fault["kind"], fault["place"], fault["same"]) == ("lost", 1, False)
    said = [reaction["text"] for reaction in fault["reactions"]]
    assert said == ["NAK 1; 1-2 again", "timeout, 0-2 again"]
    lines = rocelab("compare", *two).stdout.splitlines()
    assert any("NAK 1; 1-2 again" in line and line.rstrip().endswith("NO") for line in lines)


def test_compare_says_what_is_the_same(two: tuple[Path, Path]) -> None:
    assert rocelab("compare", two[0], two[0]).returncode == 0


def test_compare_wants_links_recorded_at_both_ends(two: tuple[Path, Path], tmp_path: Path) -> None:
    scene = Scene()
    Connection(scene).talk()
    one = rocelab("compare", two[0], scene.write(tmp_path / "one-end.pcapng"))
    assert one.returncode == 2
    assert "expected a link recorded at both its ends" in one.stderr
    assert rocelab("compare", two[0]).returncode == 2
