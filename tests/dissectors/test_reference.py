"""The reference page is that of the declarations, and draws bits as the RFCs do."""

from __future__ import annotations

from pathlib import Path

import pytest

from dissectors.bth import BTH
from dissectors.header import Header
from dissectors.ip import IPv6Fragment
from dissectors.opcode import Opcode
from dissectors.reference import SECTIONS, diagram, reference
from dissectors.reth import RETH

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference.md"

RFC_8200_4_5 = """
   |  Next Header  |   Reserved    |      Fragment Offset    |Res|M|
   |                         Identification                        |
"""
IBTA_9_2 = """
   |    OpCode     |S|M|Pad| TVer  |        Partition Key          |
   |F|B| Reserved  |               Destination QP                  |
   |A| Reserved    |                   PSN                         |
"""


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text() == reference(), "run python -m dissectors.reference > docs/reference.md"


@pytest.mark.parametrize(("kind", "figure"), [(IPv6Fragment, RFC_8200_4_5), (BTH, IBTA_9_2)])
def test_a_diagram_has_the_standards_cells(kind: type[Header], figure: str) -> None:
    expected = [bars(line.strip()) for line in figure.strip().splitlines()]
    assert [bars(line) for line in diagram(kind).splitlines() if line.startswith("|")] == expected


def bars(line: str) -> list[int]:
    return [at for at, letter in enumerate(line) if letter == "|"]


def test_a_long_field_takes_as_many_lines_as_words() -> None:
    rows = [line for line in diagram(RETH).splitlines() if line.startswith("|")]
    assert len(rows) == RETH.size // 4


def test_every_header_opcode_and_field_is_in_it() -> None:
    page = reference()
    for kinds in SECTIONS.values():
        for kind in kinds:
            section = page.split(f"### {kind.__name__}\n")[1].split("### ")[0]
            assert all(f"| `{field.name}` |" in section for field in kind.fields)
    assert all(f"| `0x{row:02x}` | `{row.name}` |" in page for row in Opcode)


def test_what_the_standard_says_of_syndromes_and_timers() -> None:
    page = reference()
    for line in ("| `0x1f` | ACK, no credit limit |", "| `0x62` | NAK, remote access error |",
                 "| 0 | 655.36 ms |", "| 12 | 0.64 ms |", "| 14 | 67.109 ms |"):  # fmt: skip
        assert line in page
