from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dissectors.bth import BTH
from lab.engine.burst import Burst
from lab.engine.burst import Path as Route
from lab.wire.faults import Action, Effect, Fault
from lab.wire.plan import FaultPlan, PlanError, load

WHOLE = """
[[fault]]
from = "client"
action = "reorder"
offset = 3
nth = 2
response = true
delay_us = 250
dest_qp = 17

[[fault]]
from = "server"
action = "corrupt"
offset = 0
bit = 99

[rates]
drop = 0.25
ce-mark = 1
seed = 7
delay_us = 5
"""


def plan(folder: Path, text: str) -> FaultPlan:
    path = folder / "plan.toml"
    path.write_text(text)
    return load(path)


def test_a_plan_says_what_befalls_which_packet(tmp_path: Path) -> None:
    found = plan(tmp_path, WHOLE)
    assert found.faults == {
        "client": [Fault(Effect(Action.REORDER, 250_000), 3, 2, True, 17)],
        "server": [Fault(Effect(Action.CORRUPT, 100_000, 99), 0)],
    }
    assert found.rates == {Action.DROP: 0.25, Action.CE_MARK: 1.0}
    assert (found.seed, found.delay_us) == (7, 5)


def test_an_empty_plan_does_nothing(tmp_path: Path) -> None:
    assert plan(tmp_path, "") == FaultPlan()


def packet(psn: int) -> Burst:
    data = BTH(opcode=4, dest_qp=17, psn=psn).pack() + bytes(4)
    return Burst(Route(b"\n\0\0\1", b"\n\0\0\2"), 50000, data, len(data))


def test_it_decides_by_sender_and_negotiated_psn(tmp_path: Path) -> None:
    text = '[[fault]]\nfrom = "client"\naction = "drop"\noffset = 2\n'
    found = plan(tmp_path, text)
    client = found.decide("client", {17: (0xFFFFFF, 0)})
    server = found.decide("server", {17: (0xFFFFFF, 0)})
    assert [client(packet(psn)) is not None for psn in (0xFFFFFF, 0, 1, 2)] == [0, 0, 1, 0]
    assert server(packet(1)) is None


def test_rates_are_the_same_every_time(tmp_path: Path) -> None:
    found = plan(tmp_path, "[rates]\ndrop = 0.5\nseed = 1\n")
    drawn = [list(map(found.decide("client", {}), map(packet, range(50)))) for _ in range(2)]
    assert drawn[0] == drawn[1]
    drops = sum(effect is not None for effect in drawn[0])
    assert 10 < drops < 40


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[fault]]\nfrom = 'x'\naction = 'drop'\noffset = 1", "fault 1: from: expected one of"),
        ("[[fault]]\nfrom = 'client'\naction = 'eat'\noffset = 1", "action: expected one of drop"),
        ("[[fault]]\nfrom = 'client'\naction = 'drop'", "expected an offset, found none"),
        ("[[fault]]\nfrom = 'client'\naction = 'drop'\noffset = -1", "offset: expected 0 to"),
        ("[[fault]]\nfrom = 'client'\naction = 'drop'\noffset = true", "offset: expected 0 to"),
        ("[[fault]]\nfrom = 'client'\naction = 'drop'\noffset = 1\npsn = 3", "found psn"),
        ("[[fault]]\nfrom = 'client'\naction = 'drop'\noffset = 1\nresponse = 1", "true or false"),
        ("[rates]\ndrop = 2", "drop: expected 0 to 1"),
        ("[rates]\nfly = 1", "found fly"),
        ("[rates]\nseed = 0.5", "seed: expected an integer"),
        ("fault = 3", r"expected tables \[\[fault\]\]"),
        ("fault = [3]", "expected a table"),
        ("faults = 3", "found faults"),
        ("[[", "expected TOML"),
    ],
)
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(PlanError, match=expected):
        plan(tmp_path, text)


def test_a_plan_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot be read"):
        load(tmp_path / "none.toml")


@given(st.text())
def test_any_text_is_a_plan_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(text, encoding="utf-8", errors="replace")
    with contextlib.suppress(PlanError):
        assert isinstance(load(path), FaultPlan)
