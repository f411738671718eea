"""lab.verbs offers what pyverbs 59 offers, by the same names, arguments and defaults.

`pyverbs-59.txt` is made from pyverbs' source by tests/interop/pyverbs_surface.py.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.verbs import libibverbs_enums as e
from lab.verbs.reference import NOT_OFFERED, classes, reference, support

LINES = Path(__file__).with_name("pyverbs-59.txt").read_text().splitlines()
OFFERED = [line for line in LINES if line.partition(".")[0] not in NOT_OFFERED]
NO_C = {"cq.CQ.cq", "device.Context.context"}
"""Pointers to C structures, which only pyverbs' own modules can use."""
mm = import_module("mmap")
NAMES = {"e": e, "v": e, "mm": mm, "MADV_DONTNEED": mm.MADV_DONTNEED}


def default(text: str) -> Any:
    """What pyverbs' default means."""
    return eval(text, dict(NAMES))


@cache
def sources(owner: type) -> str:
    return "".join(inspect.getsource(kind) for kind in owner.__mro__ if "lab" in kind.__module__)


def find(path: list[str]) -> Any:
    """What `module.Class.member` or `module.name` is here; AssertionError where nothing is."""
    module = import_module(f"lab.verbs.{path[0]}")
    assert hasattr(module, path[1]), f"lab.verbs.{path[0]} has no {path[1]}"
    found = getattr(module, path[1])
    if len(path) == 2:
        return found
    if hasattr(found, path[2]):
        return getattr(found, path[2])
    # Set when it is made.
    assert re.search(rf"self\.{path[2]}\b", sources(found)), f"{path[1]} has no {path[2]}"
    return SimpleNamespace()


def is_refused(path: list[str]) -> bool:
    """Whether it is part of a class that cannot be made, or a pointer."""
    if ".".join(path) in NO_C:
        return True
    return len(path) == 3 and support(find(path[:2]))[0] == "not supported"


def parameters(found: Any) -> Iterator[tuple[str, Any]]:
    """(name, default) of what a caller may give; `**` before the name of the rest."""
    if inspect.isclass(found) and found.__init__ is object.__init__:
        return
    target = found.__init__ if inspect.isclass(found) else found
    for parameter in inspect.signature(target).parameters.values():
        if parameter.name == "self":
            continue
        stars = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
        yield stars + parameter.name, parameter.default


def same(ours: Any, theirs: Any) -> bool:
    return list(ours) == theirs if isinstance(theirs, list) else bool(ours == theirs)


@pytest.mark.parametrize("line", OFFERED)
def test_offered(line: str) -> None:
    name, bracket, rest = line.partition("(")
    path = name.split(".")
    if is_refused(path):
        return
    found = find(path)
    if not bracket:
        return
    given = list(parameters(found))
    wanted = [part.strip() for part in rest.removesuffix(")").split(",") if part.strip()]
    names = [part.partition("=")[0] for part in wanted]
    assert [name for name, _ in given[: len(names)]] == names
    assert all(ours is not inspect.Parameter.empty for _, ours in given[len(names) :])
    for (argument, ours), part in zip(given, wanted, strict=False):
        _, equals, text = part.partition("=")
        if equals:
            assert same(ours, default(text)), f"{argument}: {ours!r}, pyverbs has {text}"
        else:
            assert ours is inspect.Parameter.empty


def test_every_class_says_what_is_supported() -> None:
    assert len(list(classes())) > 50
    for _, kind in classes():
        support(kind)


def test_the_page_is_up_to_date() -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "verbs.md"
    assert page.read_text() == reference(), "run python -m lab.verbs.reference > docs/verbs.md"


def test_the_list_is_whole() -> None:
    assert {"cq.CQ.poll(num_entries=1)", "qp.QPEx.wr_complete()", "mr.MW.rkey"} <= set(LINES)
    assert len(OFFERED) > 500


def test_what_is_not_offered_is_not_there() -> None:
    for module in NOT_OFFERED:
        with pytest.raises(ModuleNotFoundError):
            import_module(f"lab.verbs.{module}")


def test_the_names_of_pyverbs_44() -> None:
    old = import_module("lab.verbs.enums")
    assert old.IBV_QPT_RC is e.IBV_QPT_RC
    assert old.ibv_qp_type is e.ibv_qp_type
    assert old._IBV_ADVISE_MR_FLAG_FLUSH == 1
