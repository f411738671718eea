"""The tutorial: RoCEv2 packet by packet, drawn from the declarations and from real captures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis import page
from analysis.tutorial.view import view


def write(
    path: Path, transitions: Sequence[Mapping[str, Any]], scenarios: Sequence[tuple[str, str]]
) -> Path:
    """Write the tutorial to `path`; raises OSError where that is not possible.

    `transitions` are the queue pair's, as mappings with the fields of `figures.machine.Transition`;
    `scenarios` are names of what there is to run, and what each is about.
    """
    shown = view(transitions, scenarios)
    return page.write(path, page.render("tutorial/page.html.j2", t=shown))
