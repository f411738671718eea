"""Packets sorted into sequences, checked against what the capture's README says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from analysis.figures import ladder, psn_time, tcp_steps
from analysis.figures.ladder import Gap, Step
from analysis.figures.psn_time import KINDS
from analysis.figures.sightings import WINDOW, Sightings, drawn, rungs, sight
from analysis.figures.tcp_steps import Told
from analysis.verify import verify
from dissectors import psn
from tests.analysis.flow import End, data, secure_flow
from tests.analysis.scene import A, B

SAMPLES = Path(__file__).resolve().parents[2] / "captures" / "samples"


def sightings(path: Path) -> Sightings:
    context = verify(path).context
    return sight(context.table, context.sequences, 0)


def sample(name: str) -> Sightings:
    return sightings(SAMPLES / f"{name}.pcap")


def test_a_sequence_wraps_without_a_jump() -> None:
    """From 0xFFFFFE: SEND, WRITE of 3, WRITE_WITH_IMM, READ of 3, two atomics, WRITE."""
    packets = sample("rxe61_pyverbs_wrap")
    found = [s for s in packets.take(range(len(packets))) if s.kind == "request"]
    assert [s.psn for s in found] == [0xFFFFFE, 0xFFFFFF, 0, 1, 2, 3, 6, 7, 8]
    assert [s.place for s in found] == [0, 1, 2, 3, 4, 5, 8, 9, 10]
    assert [s.span for s in found] == [1, 1, 1, 1, 1, 3, 1, 1, 1]
    assert packets.bases() == {"a": 0xFFFFFE}


def test_answers_belong_to_the_sequence_they_answer() -> None:
    packets = sample("rxe61_pyverbs_rc")
    found = list(packets.take(range(len(packets))))
    answers = [s for s in found if s.sender == "b"]
    assert {s.owner for s in found} == {"a"}
    assert [s.kind for s in answers].count("response") == 3 + 2  # READ of 3, two atomics
    assert [s.kind for s in answers].count("ack") == 4


def test_an_rnr_nak_is_trouble_and_so_is_what_follows() -> None:
    """The receiver never posts: four transmissions of one PSN, four RNR NAKs."""
    packets = sample("rxe61_err_rnr")
    found = list(packets.take(range(len(packets))))
    assert [s.kind for s in found] == ["request", "nak", *["sent again", "nak"] * 3]
    steps = [step for step in rungs(packets, {"a": (18, "first")}) if isinstance(step, Step)]
    again = ["sent again", ""]
    assert [step.mark for step in steps] == ["first", "", *again, *again, *again]


def test_a_chart_is_bounded_and_keeps_trouble() -> None:
    kinds = np.zeros(100_000, np.int64)
    kinds[7::1000] = KINDS.index("nak")
    kept = psn_time.thin(kinds)
    assert len(kept) == psn_time.LIMIT
    assert (kinds[kept] == KINDS.index("nak")).sum() == 100
    assert (kept[0], kept[-1]) == (0, len(kinds) - 1)
    assert (np.diff(kept) > 0).all()
    assert len(psn_time.thin(np.full(100_000, KINDS.index("nak")))) <= psn_time.LIMIT


def test_a_chart_draws_one_sequence() -> None:
    packets = sample("rxe61_ibv_rc_pingpong")
    both = [drawn(packets, end) for end in "ab"]
    assert [len(each.points) for each in both] == [each.packets for each in both]
    assert sum(each.packets for each in both) == len(packets)


def test_the_middle_of_a_long_connection_is_counted(tmp_path: Path) -> None:
    scene = secure_flow()
    client, server = End(A, 0x20, 0xFFFFFA, "client"), End(B, 0x120, 0x5EC001, "server")
    for turn in range(1, 250):
        data(scene, replace(client, sq_psn=psn.add(client.sq_psn, 13 * turn)), server)
    packets = sightings(scene.write(tmp_path / "capture.pcapng"))
    found = list(rungs(packets, {}))
    (gap,) = [rung for rung in found if isinstance(rung, Gap)]
    assert ladder.frames(found) == len(packets)
    assert gap.frames == len(packets) - 2 * WINDOW
    assert gap.frame == found[WINDOW - 1].frame + 1
    assert gap.again == sum(
        seen.kind == "sent again" for seen in packets.take(range(WINDOW, len(packets) - WINDOW))
    )
    shown = ladder.elide(found, 100)
    assert ladder.frames(shown) == len(packets)
    everything = packets.take(range(len(packets)))
    assert sum(rung.again for rung in shown) == sum(s.kind == "sent again" for s in everything)


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
