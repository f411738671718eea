"""Packets sorted into sequences, checked against what the capture's README says of it."""

from __future__ import annotations

from pathlib import Path

from analysis.figures import psn_time, tcp_steps
from analysis.figures.psn_time import Point
from analysis.figures.sightings import Sighting, bases, points, sight, steps
from analysis.figures.tcp_steps import Told
from analysis.verify import verify
from tests.analysis.flow import secure_flow

SAMPLES = Path(__file__).resolve().parents[2] / "captures" / "samples"


def sightings(name: str) -> list[Sighting]:
    context = verify(SAMPLES / f"{name}.pcap").context
    return sight(context.table, context.sequences, 0)


def test_a_sequence_wraps_without_a_jump() -> None:
    """From 0xFFFFFE: SEND, WRITE of 3, WRITE_WITH_IMM, READ of 3, two atomics, WRITE."""
    found = [s for s in sightings("rxe61_pyverbs_wrap") if s.kind == "request"]
    assert [s.psn for s in found] == [0xFFFFFE, 0xFFFFFF, 0, 1, 2, 3, 6, 7, 8]
    assert [s.place for s in found] == [0, 1, 2, 3, 4, 5, 8, 9, 10]
    assert [s.span for s in found] == [1, 1, 1, 1, 1, 3, 1, 1, 1]
    assert bases(found) == {"a": 0xFFFFFE}


def test_answers_belong_to_the_sequence_they_answer() -> None:
    found = sightings("rxe61_pyverbs_rc")
    answers = [s for s in found if s.sender == "b"]
    assert {s.owner for s in found} == {"a"}
    assert [s.kind for s in answers].count("response") == 3 + 2  # READ of 3, two atomics
    assert [s.kind for s in answers].count("ack") == 4


def test_an_rnr_nak_is_trouble_and_so_is_what_follows() -> None:
    """The receiver never posts: four transmissions of one PSN, four RNR NAKs."""
    found = sightings("rxe61_err_rnr")
    assert [s.kind for s in found] == ["request", "nak", *["sent again", "nak"] * 3]
    marks = [step.mark for step in steps(found, {"a": (18, "first")})]
    assert marks == ["first", "", "sent again", "", "sent again", "", "sent again", ""]


def test_a_charts_data_is_bounded_and_keeps_trouble() -> None:
    def point(number: int) -> Point:
        kind = "nak" if number % 1000 == 7 else "request"
        return Point(number, number, number, number, kind, "a", "SEND")

    many = [point(number) for number in range(100_000)]
    kept = psn_time.thin(many)
    assert len(kept) == psn_time.LIMIT
    assert sum(p.kind == "nak" for p in kept) == 100
    assert (kept[0], kept[-1]) == (many[0], many[-1])
    assert [p.frame for p in kept] == sorted(p.frame for p in kept)


def test_points_are_those_of_one_end() -> None:
    found = sightings("rxe61_ibv_rc_pingpong")
    both = [points(found, end) for end in "ab"]
    assert len(both[0]) + len(both[1]) == len(found)
    assert all(p.ahead >= 0 for p in both[0])


def test_the_exchange_is_named_where_it_is_decrypted(tmp_path: Path) -> None:
    context = verify(secure_flow().write(tmp_path / "capture.pcapng")).context
    (stream,) = context.streams
    rows = range(len(stream.frames))
    sealed = [step.label for step in tcp_steps.steps(context.table, rows, stream, "a", {})]
    assert sealed[:3] == ["TCP SYN", "TCP SYN ACK", "TLS ClientHello"]
    assert "TLS encrypted data" in sealed
    told = {16: Told("endpoint", 0xFFFFFA, "a"), 20: Told("ready"), 22: Told("ready")}
    named = tcp_steps.steps(context.table, rows, stream, "a", told)
    announcement = next(step for step in named if step.psn is not None)
    assert (announcement.label, announcement.owner) == ("TLS endpoint", "a")
    together = next(step for step in named if step.kind == "both")
    assert (together.label, together.frame, together.frames) == ("TLS ready", 20, 2)


def test_a_long_title_is_cut() -> None:
    assert tcp_steps.title({"type": "barrier", "name": "x" * 500}) == f"barrier: {'x' * 34}…"
    assert tcp_steps.title({"type": 5}) == "5"
