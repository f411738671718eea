"""Bit diagrams cover exactly the bits a header has; the state figure is the table."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from analysis.figures import bits, machine
from analysis.figures.machine import Transition
from dissectors.bth import BTH
from dissectors.header import Header
from dissectors.table import HEADERS
from lab.tutorial import transitions


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header.__name__)
def test_every_bit_is_in_one_box(header: type[Header]) -> None:
    covered = [
        (row, bit)
        for box in bits.boxes(header)
        for row in range(box.row, box.row + box.rows)
        for bit in range(box.first, box.first + box.bits)
    ]
    assert len(covered) == len(set(covered)) == 8 * header.size
    assert max(row * bits.ROW + bit for row, bit in covered) == 8 * header.size - 1


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header.__name__)
def test_every_field_is_named_once(header: type[Header]) -> None:
    named = [box.label for box in bits.boxes(header) if box.label]
    assert named == [field.name for field in header.fields if field.bits]


def test_bth_stands_as_in_the_standard() -> None:
    """IBTA vol. 1, 9.2: the PSN is the last 24 bits of the third word."""
    (psn,) = [box for box in bits.boxes(BTH) if box.label == "psn"]
    assert (psn.row, psn.first, psn.bits) == (2, 8, 24)
    text = "".join(ElementTree.fromstring(bits.draw(BTH)).itertext())
    assert "dest_qp" in text


def test_the_state_figure_is_the_engines_table() -> None:
    steps = [Transition(**step) for step in transitions()]
    assert set(machine.from_everywhere(steps)) == {"RESET", "ERR"}
    drawn = {tuple(arrow.words) for arrow in machine.arrows(steps)}
    assert any("rq_psn" in words and "sq_psn" not in words for words in drawn)
    assert ("UC, UD only",) in drawn
    between = {(t.start, t.end) for t in steps if t.start != t.end} - {
        (t.start, t.end) for t in steps if t.end in ("RESET", "ERR")
    }
    assert len(machine.arrows(steps)) == len(between)
    ElementTree.fromstring(machine.draw(steps, standalone=True))


def test_a_state_without_a_place_is_an_error() -> None:
    with pytest.raises(KeyError, match="SLEEP"):
        machine.draw([Transition("RESET", "SLEEP")])
