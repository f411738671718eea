"""The ladder leaves frames out honestly and draws well-formed, escaped SVG."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.figures import ladder
from analysis.figures.ladder import Gap, Phase, Rung, Step
from analysis.figures.palette import PAGE, PAPER

LABELS = st.sampled_from(["RDMA_WRITE_MIDDLE", "ACKNOWLEDGE", "SEND_ONLY"])
RUNGS = st.one_of(
    st.builds(
        Step,
        frame=st.integers(1, 10**6),
        time_ns=st.integers(0, 10**18),
        sender=st.sampled_from("ab"),
        kind=st.sampled_from(["tcp", "tls", "request", "response", "ack", "nak"]),
        label=LABELS,
        psn=st.one_of(st.none(), st.integers(0, 2**24 - 1)),
        owner=st.sampled_from("ab"),
        mark=st.sampled_from(["", "", "first"]),
    ),
    st.builds(Phase, LABELS),
)


@given(st.lists(RUNGS, max_size=200), st.integers(3, 60))
def test_every_frame_is_drawn_or_counted(rungs: list[Rung], limit: int) -> None:
    shown = ladder.elide(rungs, limit)
    assert ladder.frames(shown) == ladder.frames(rungs)
    assert len(shown) <= limit + 1
    drawn = [rung for rung in shown if isinstance(rung, Step)]
    assert [rung for rung in rungs if rung in drawn and isinstance(rung, Step)][:1] == drawn[:1]


def step(frame: int, label: str, mark: str = "") -> Step:
    return Step(frame, frame * 1000, "a", "request", label, psn=frame, owner="a", mark=mark)


def test_a_run_keeps_its_ends_and_counts_the_rest() -> None:
    run = [step(n, "RDMA_WRITE_MIDDLE") for n in range(1, 101)]
    first, gap, last = ladder.elide(run, 50)
    assert (first, last) == (run[0], run[-1])
    assert gap == Gap(98, "more: RDMA_WRITE_MIDDLE")


def test_a_marked_frame_is_never_folded() -> None:
    run = [step(n, "SEND_ONLY", "sent again" if n == 30 else "") for n in range(1, 61)]
    assert run[29] in ladder.elide(run, 50)


@pytest.mark.parametrize("layout", [ladder.WIDE, ladder.NARROW])
@pytest.mark.parametrize("palette", [PAGE, PAPER])
def test_svg_is_well_formed_and_escaped(layout: ladder.Layout, palette: object) -> None:
    hostile = "<script>alert(1)</script>\"'&"
    rungs: list[Rung] = [
        Phase(hostile),
        step(1, hostile, hostile),
        Gap(3, hostile),
        step(9, "SEND_ONLY"),
    ]
    svg = ladder.draw(rungs, (hostile, hostile), layout, PAPER, title=hostile, start_ns=0)
    tree = ElementTree.fromstring(svg)
    assert not [node for node in tree.iter() if node.tag.endswith("script")]
    text = "".join(tree.itertext())
    assert text.count(hostile) == 6
    assert "0x000009" in text
