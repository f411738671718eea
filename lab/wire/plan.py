"""A fault plan as a TOML file: what befalls which packet, by end that sends it.

[[fault]]
from = "client"      # who sends it: client or server
action = "drop"      # drop, duplicate, delay, reorder, corrupt, ce-mark
offset = 3           # PSNs from the sq_psn of the end whose request it is, or is answered
nth = 1              # which passing of that PSN
response = false     # true: an acknowledgement or READ response
delay_us = 100       # of delay and reorder
bit = 0              # of corrupt: which bit of BTH and what follows

[rates]              # besides, by chance, in both directions
drop = 0.01
seed = 1
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from lab.engine.burst import Burst
from lab.wire.faults import Action, Decide, Effect, Fault, Plan, Rates

SENDERS = ("client", "server")
MAX_FAULTS = 100_000
_RANGES = {
    "offset": (0, (1 << 24) - 1),
    "nth": (1, 1 << 31),
    "delay_us": (1, 60_000_000),
    "bit": (0, 1 << 20),
    "dest_qp": (0, (1 << 24) - 1),
}
_ACTIONS = {action.value: action for action in Action}


class PlanError(Exception):
    """A fault plan that cannot be used; says where, expected, found."""


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Faults by who sends the packet, and rates (probability of each action) for both."""

    faults: dict[str, list[Fault]] = field(default_factory=lambda: {name: [] for name in SENDERS})
    rates: dict[Action, float] = field(default_factory=dict)
    seed: int = 0
    delay_us: int = 100

    def decide(self, sender: str, sq_psns: dict[int, tuple[int, int]]) -> Decide:
        """What to ask about each datagram of `sender`; `sq_psns` as `Plan` has them."""
        by_address = Plan(self.faults[sender], sq_psns)
        if not self.rates:
            return by_address
        by_chance = Rates(self.rates, Random(f"{self.seed} {sender}"), self.delay_us * 1000)

        def decide(datagram: Burst) -> Effect | None:
            return by_address(datagram) or by_chance(datagram)

        return decide


def load(path: str | Path) -> FaultPlan:
    """Read a plan; PlanError where it is not one."""
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"{path}: expected TOML in UTF-8; {error}") from None
    _expect(path, "the plan", document, {"fault", "rates"})
    entries, rates = document.get("fault", []), document.get("rates", {})
    if not isinstance(entries, list) or not isinstance(rates, dict) or len(entries) > MAX_FAULTS:
        raise PlanError(f"{path}: expected tables [[fault]] (at most {MAX_FAULTS}) and [rates]")
    plan = FaultPlan(**_rates(path, rates))
    for number, entry in enumerate(entries, 1):
        sender, fault = _fault(f"{path}: fault {number}", entry)
        plan.faults[sender].append(fault)
    return plan


def _fault(where: str, entry: Any) -> tuple[str, Fault]:
    if not isinstance(entry, dict):
        raise PlanError(f"{where}: expected a table, found {entry!r}")
    _expect(where, "a fault", entry, {"from", "action", "response", *_RANGES})
    _member(where, "from", entry.get("from"), SENDERS)
    _member(where, "action", entry.get("action"), _ACTIONS)
    if type(entry.get("response", False)) is not bool:
        raise PlanError(f"{where}: response: expected true or false, found {entry['response']!r}")
    values = {key: _number(where, key, entry[key]) for key in _RANGES if key in entry}
    if "offset" not in values:
        raise PlanError(f"{where}: expected an offset, found none")
    effect = Effect(
        _ACTIONS[entry["action"]], values.get("delay_us", 100) * 1000, values.get("bit", 0)
    )
    return entry["from"], Fault(
        effect,
        values["offset"],
        values.get("nth", 1),
        entry.get("response", False),
        values.get("dest_qp"),
    )


def _rates(path: str | Path, table: dict[str, Any]) -> dict[str, Any]:
    _expect(path, "rates", table, {"seed", "delay_us", *_ACTIONS})
    where = f"{path}: rates"
    rates: dict[Action, float] = {}
    for name, action in _ACTIONS.items():
        value = table.get(name, 0)
        if type(value) not in (int, float) or not 0 <= value <= 1:
            raise PlanError(f"{where}: {name}: expected 0 to 1, found {value!r}")
        if value:
            rates[action] = float(value)
    seed = table.get("seed", 0)
    if type(seed) is not int:
        raise PlanError(f"{where}: seed: expected an integer, found {seed!r}")
    return {
        "rates": rates,
        "seed": seed,
        "delay_us": _number(where, "delay_us", table.get("delay_us", 100)),
    }


def _number(where: str, key: str, value: Any) -> int:
    lowest, highest = _RANGES[key]
    if type(value) is not int or not lowest <= value <= highest:
        raise PlanError(f"{where}: {key}: expected {lowest} to {highest}, found {value!r}")
    return value


def _expect(where: object, what: str, table: dict[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(table) - known):
        raise PlanError(
            f"{where}: expected {what} to have only {', '.join(sorted(known))}; "
            f"found {', '.join(unknown)}"
        )


def _member(where: str, key: str, value: Any, allowed: Any) -> None:
    if value not in allowed:
        raise PlanError(f"{where}: {key}: expected one of {', '.join(allowed)}; found {value!r}")
