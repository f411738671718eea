"""A scenario: what is run, with which defaults, and what it teaches. One TOML file each."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("scenarios")
PATH_MTUS = (256, 512, 1024, 2048, 4096)
MAX_CLIENTS = 10_000


class ScenarioError(Exception):
    """A scenario that cannot be used; the message says what was expected, found, and where."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a run uses where the command line says nothing. `mtu` is the path MTU in bytes."""

    clients: int = 1
    family: int = 4
    mtu: int = 1024

    def check(self, where: str) -> None:
        """Raise ScenarioError unless every value is one a run can have; `where` is the file."""
        allowed: dict[str, range | tuple[int, ...]] = {
            "clients": range(1, MAX_CLIENTS + 1),
            "family": (4, 6),
            "mtu": PATH_MTUS,
        }
        for name, values in allowed.items():
            found = getattr(self, name)
            if type(found) is not int or found not in values:
                expected = (
                    f"{values.start} to {values.stop - 1}"
                    if isinstance(values, range)
                    else ", ".join(map(str, values))
                )
                raise ScenarioError(f"{where}: {name}: expected {expected}; found {found!r}")


@dataclass(frozen=True, slots=True)
class Scenario:
    """`flow` names the function in lab.flows that both ends run; the rest is for people."""

    name: str
    title: str
    flow: str
    teaches: str
    on_the_wire: str
    look_at: str
    defaults: Defaults = Defaults()


def names() -> list[str]:
    """The scenarios that come with rocelab."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def source(name: str) -> Path:
    """The file of the scenario `name`, or `name` itself if it is a TOML file's path."""
    if name.endswith(".toml"):
        return Path(name)
    if name not in names():
        raise ScenarioError(
            f"expected a scenario, one of {', '.join(names())}, or a TOML file; found {name!r}"
        )
    return FOLDER / f"{name}.toml"


def load(name: str) -> Scenario:
    """Read a scenario by name or by path of its TOML file; ScenarioError if it is not one."""
    path = source(name)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: expected TOML in UTF-8; {error}") from None
    defaults = document.pop("defaults", {})
    if not isinstance(defaults, dict):
        raise ScenarioError(f"{path}: defaults: expected a table; found {defaults!r}")
    _expect_keys(path, defaults, Defaults, optional={"clients", "family", "mtu"})
    _expect_keys(path, document, Scenario, optional={"defaults"})
    for key, value in document.items():
        if not isinstance(value, str) or not value.strip():
            raise ScenarioError(f"{path}: {key}: expected text; found {value!r}")
    checked = Defaults(**defaults)
    checked.check(str(path))
    return Scenario(**{k: v.strip() for k, v in document.items()}, defaults=checked)


def _expect_keys(
    path: Path, found: dict[str, Any], kind: type[Defaults | Scenario], optional: set[str]
) -> None:
    known = {field.name for field in fields(kind)}
    if unknown := sorted(set(found) - known):
        raise ScenarioError(
            f"{path}: expected only the keys {', '.join(sorted(known))}; found {', '.join(unknown)}"
        )
    if missing := sorted(known - set(found) - optional):
        raise ScenarioError(f"{path}: expected the keys {', '.join(missing)}; found none of them")
