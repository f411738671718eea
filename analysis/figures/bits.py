"""The bit diagram of a header, 32 bits a row, drawn from its declaration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from analysis.figures.palette import PAPER, Palette
from analysis.templating import environment
from dissectors.header import Header

ROW = 32
"""Bits a row."""
WIDE, NARROW = 26, 10
"""Width of a bit, for a page and for a phone."""
HEIGHT, MARGIN = 44, 30
LETTER = 7.2
"""Width of a letter of the labels."""


@dataclass(frozen=True, slots=True)
class Box:
    """A field, or the part of it that lies in some rows; `label` is empty in all parts but one."""

    row: int
    rows: int
    first: int
    bits: int
    label: str
    bit: int = WIDE

    @property
    def x(self) -> int:
        return self.first * self.bit

    @property
    def y(self) -> int:
        return self.row * HEIGHT

    @property
    def width(self) -> int:
        return self.bits * self.bit

    @property
    def height(self) -> int:
        return self.rows * HEIGHT

    @property
    def upright(self) -> bool:
        """Whether the label only fits when it is turned."""
        return len(self.label) * LETTER > self.width - 4


def boxes(header: type[Header], bit: int = WIDE) -> Iterator[Box]:
    """The boxes of a header's fields in wire order; a field over several rows is cut into them."""
    for field in header.fields:
        parts = list(_parts(field.bit_offset, field.bits))
        widest = max(parts, key=lambda part: (part[3] * part[1], -part[0]), default=None)
        for part in parts:
            row, rows, first, bits = part
            yield Box(row, rows, first, bits, field.name if part == widest else "", bit)


def _parts(start: int, bits: int) -> Iterator[tuple[int, int, int, int]]:
    """(row, rows, first bit, bits): what stands in the first row, in whole rows, in the last."""
    end = start + bits
    while start < end:
        row, first = divmod(start, ROW)
        whole = (end - start) // ROW if first == 0 else 0
        length = whole * ROW or min(ROW - first, end - start)
        yield row, max(1, whole), first, min(length, ROW)
        start += length


def draw(
    header: type[Header], palette: Palette = PAPER, bit: int = WIDE, *, standalone: bool = False
) -> Markup:
    """The diagram as SVG."""
    found = list(boxes(header, bit))
    bottom = max((box.y + box.height for box in found), default=0)
    template = environment().get_template("figures/bits.svg.j2")
    svg = template.render(
        boxes=found,
        name=header.__name__,
        size=header.size,
        colours=palette,
        bit=bit,
        narrow=bit < WIDE,
        bits=min(ROW, 8 * header.size),
        margin=MARGIN,
        bottom=bottom,
        standalone=standalone,
    )
    return Markup(svg)
