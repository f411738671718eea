"""The ladder diagram: what went between two ends, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from analysis.figures.palette import PAPER, Palette
from analysis.templating import environment

RUN = 4
"""Like frames in a row beyond which only the first and the last are drawn."""


@dataclass(frozen=True, slots=True)
class Step:
    """One frame of the ladder.

    `sender` is `a` or `b`; `kind` is tcp, tls, both (each end said the same inside TLS), request,
    response, ack or nak; `owner` is the end whose sequence `psn` belongs to; `mark` says why the
    frame matters, if it does; `frames` how many frames it stands for, `again` how many of them were
    sent before.
    """

    frame: int
    time_ns: int
    sender: str
    kind: str
    label: str
    detail: str = ""
    psn: int | None = None
    owner: str = ""
    mark: str = ""
    frames: int = 1
    again: int = 0


@dataclass(frozen=True, slots=True)
class Phase:
    """A caption across the ladder: what begins here."""

    name: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames that are not drawn: how many, what they were, how many of them were sent before.

    `frame` is the first of them.
    """

    frames: int
    what: str
    again: int = 0
    frame: int = 0


Rung = Step | Phase | Gap


def elide(rungs: Sequence[Rung], limit: int) -> list[Rung]:
    """At most about `limit` rungs: like frames in a row folded first, then the middle left out.

    Every frame left out is counted in a Gap; marked frames are folded into no run.
    """
    folded = [rung for run in _runs(rungs) for rung in _fold(run)]
    if len(folded) <= limit:
        return folded
    head = folded[: limit * 2 // 3]
    tail = folded[len(folded) - limit // 3 :]
    middle = folded[len(head) : len(folded) - len(tail)]
    again = sum(0 if isinstance(rung, Phase) else rung.again for rung in middle)
    return [*head, Gap(frames(middle), "frames in between", again), *tail]


def frames(rungs: Sequence[Rung]) -> int:
    """How many frames the rungs stand for, those left out included."""
    return sum(0 if isinstance(rung, Phase) else rung.frames for rung in rungs)


def _runs(rungs: Sequence[Rung]) -> Iterator[list[Rung]]:
    def likeness(numbered: tuple[int, Rung]) -> object:
        number, rung = numbered
        if isinstance(rung, Step) and not rung.mark:
            return rung.sender, rung.kind, rung.label
        return number

    for _, run in groupby(enumerate(rungs), key=likeness):
        yield [rung for _, rung in run]


def _fold(run: list[Rung]) -> list[Rung]:
    if len(run) < RUN:
        return run
    first, *between, last = run
    assert isinstance(first, Step)
    return [first, Gap(frames(between), f"more: {first.label}"), last]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things stand, in SVG units (pixels at scale 1)."""

    width: int
    left: int
    right: int
    font: float
    row: int
    columns: bool
    """Whether there is room for the time and frame columns."""
    letters: int
    """Letters of a label that there is room for."""

    @property
    def middle(self) -> float:
        return (self.left + self.right) / 2


WIDE = Layout(width=1000, left=160, right=920, font=13, row=32, columns=True, letters=80)
NARROW = Layout(width=340, left=10, right=330, font=10.5, row=30, columns=False, letters=46)


@dataclass(frozen=True, slots=True)
class Placed:
    """A rung and the height its line is drawn at."""

    kind: str
    y: int
    rung: Rung
    since_ms: float | None = None


def draw(
    rungs: Sequence[Rung],
    names: tuple[str, str],
    layout: Layout = WIDE,
    palette: Palette = PAPER,
    *,
    start_ns: int,
    title: str = "Ladder diagram",
    standalone: bool = False,
) -> Markup:
    """The ladder as SVG. `names` are the captions of ends A and B; times count from `start_ns`."""
    placed = []
    y = 3 * layout.row
    for rung in rungs:
        y += layout.row // 2 if isinstance(rung, Phase) else 0
        since = (rung.time_ns - start_ns) / 1e6 if isinstance(rung, Step) else None
        placed.append(Placed(type(rung).__name__.lower(), y, rung, since))
        y += layout.row
        y += layout.row // 3 if isinstance(rung, Step) and rung.mark else 0
    template = environment().get_template("figures/ladder.svg.j2")
    svg = template.render(
        placed=placed,
        names=names,
        layout=layout,
        colours=palette,
        title=title,
        height=y,
        bottom=y - layout.row // 2,
        standalone=standalone,
    )
    return Markup(svg)
