"""The states of a queue pair and the steps between them, drawn from a table of transitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

from markupsafe import Markup

from analysis.figures.palette import PAPER, Palette
from analysis.templating import environment

PLACES = {
    "RESET": (70, 70),
    "INIT": (290, 70),
    "RTR": (510, 70),
    "RTS": (730, 70),
    "SQD": (910, 70),
    "SQE": (730, 230),
    "ERR": (180, 230),
}
"""State -> middle of its box. A state that is not here cannot be drawn."""
BOX = (96, 44)
WIDTH, HEIGHT = 970, 275
LINE = 15
"""Height of a line of attributes."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A step that modify_qp may make.

    `required` are the attributes it must be given (those of RC), `kinds` the types of queue pair
    that may make it.
    """

    start: str
    end: str
    required: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ("RC", "UC", "UD")


@dataclass(frozen=True, slots=True)
class Arrow:
    """A step drawn: from one border to the other; its words stand below `x`, `y`."""

    x1: float
    y1: float
    x2: float
    y2: float
    words: tuple[str, ...]

    @property
    def x(self) -> float:
        upright = abs(self.x2 - self.x1) < 1
        return (self.x1 + self.x2) / 2 + (BOX[0] / 2 if upright else 0)

    @property
    def y(self) -> float:
        return (self.y1 + self.y2) / 2 + LINE + 3


def arrows(transitions: Sequence[Transition]) -> list[Arrow]:
    """Arrows of the steps between two states, but for those into states entered from everywhere.

    Raises KeyError for a state that PLACES does not have.
    """
    everywhere = from_everywhere(transitions)
    drawn = [t for t in transitions if t.start != t.end and t.end not in everywhere]
    steps = {(t.start, t.end) for t in drawn}
    return [_arrow(t, both=(t.end, t.start) in steps) for t in drawn]


def from_everywhere(transitions: Sequence[Transition]) -> list[str]:
    """States that every state may be left for."""
    steps = {(t.start, t.end) for t in transitions}
    states = list(dict.fromkeys(state for step in sorted(steps) for state in step))
    return [end for end in states if all((start, end) in steps for start in states)]


def _arrow(transition: Transition, *, both: bool) -> Arrow:
    (x1, y1), (x2, y2) = PLACES[transition.start], PLACES[transition.end]
    length = hypot(x2 - x1, y2 - y1)
    along_x, along_y = (x2 - x1) / length, (y2 - y1) / length
    # From the middle of a box to its border; two opposite arrows run side by side.
    reach = min(size / 2 / abs(a) for size, a in zip(BOX, (along_x, along_y), strict=True) if a)
    side = 9 if both else 0
    shift_x, shift_y = -along_y * side, along_x * side
    return Arrow(
        x1 + along_x * reach + shift_x,
        y1 + along_y * reach + shift_y,
        x2 - along_x * reach + shift_x,
        y2 - along_y * reach + shift_y,
        transition.required
        if "RC" in transition.kinds
        else (f"{', '.join(transition.kinds)} only",),
    )


def draw(
    transitions: Sequence[Transition], palette: Palette = PAPER, *, standalone: bool = False
) -> Markup:
    """The machine as SVG; the attributes that set a PSN are in the colour of end A."""
    everywhere = from_everywhere(transitions)
    used = {state for t in transitions for state in (t.start, t.end)}
    template = environment().get_template("figures/machine.svg.j2")
    svg = template.render(
        arrows=arrows(transitions),
        boxes=[(state, *PLACES[state]) for state in PLACES if state in used],
        everywhere=everywhere,
        box=BOX,
        width=WIDTH,
        height=HEIGHT,
        line=LINE,
        colours=palette,
        standalone=standalone,
    )
    return Markup(svg)
