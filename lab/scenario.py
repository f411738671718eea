"""A scenario: what is run, with which defaults, and what it teaches. One TOML file each."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from lab.endpoint.program import KNOWN, WORD
from lab.flows.table import FLOWS

FOLDER = Path(__file__).with_name("scenarios")
PATH_MTUS = (256, 512, 1024, 2048, 4096)
MAX_CLIENTS = 10_000
MAX_ARGUMENT = (1 << 31) - 1
TEXTS = ("name", "title", "flow", "page")
OPTIONAL = ("flow", "page")
TABLES = ("defaults", "arguments", "program")
ROLES = ("server", "client")


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
    """`flow` names the flow in lab.flows that both ends run, `arguments` are its whole numbers.

    Without a flow, `program` has by role the command line of an existing program, in which
    `{name}` stands for an argument or for what lab.endpoint.program fills in. `page` says what it
    teaches, what is on the wire and what to look at: the flow's own page unless the file has
    another. `file` is the TOML file it came from.
    """

    name: str
    title: str
    flow: str
    page: str
    file: Path
    defaults: Defaults = Defaults()
    arguments: Mapping[str, int] = field(default_factory=dict)
    program: Mapping[str, str] = field(default_factory=dict)

    def with_arguments(self, settings: Iterable[str]) -> Scenario:
        """The same with arguments replaced, each "NAME=NUMBER"; ScenarioError if it is not one."""
        pairs = [setting.partition("=") for setting in settings]
        arguments: dict[str, Any] = {
            name: int(text) if text.isdecimal() else text for name, _, text in pairs
        }
        _check_arguments("--set", arguments, self._known)
        return replace(self, arguments={**self.arguments, **arguments})

    @property
    def _known(self) -> Collection[str]:
        """The arguments there are."""
        return FLOWS[self.flow].arguments if self.flow else self.arguments


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
    defaults, arguments, program = (_table(path, document, key) for key in TABLES)
    texts = dict.fromkeys(OPTIONAL, "") | {k: v for k, v in document.items() if k not in TABLES}
    _only(str(path), texts, TEXTS)
    for key in TEXTS:
        value = texts.get(key)
        if not isinstance(value, str) or not (value.strip() or key in OPTIONAL):
            raise ScenarioError(f"{path}: {key}: expected text; found {value!r}")
    _only(str(path), defaults, [spec.name for spec in fields(Defaults)])
    known = _check_program(path, texts, program, arguments) if program else _check_flow(path, texts)
    _check_arguments(str(path), arguments, known)
    checked = Defaults(**defaults)
    checked.check(str(path))
    texts["page"] = texts["page"].strip() or FLOWS[texts["flow"]].page
    return Scenario(**texts, file=path, defaults=checked, arguments=arguments, program=program)


def _check_flow(path: Path, texts: Mapping[str, str]) -> Collection[str]:
    """Return the arguments that the flow takes."""
    flow = FLOWS.get(texts["flow"])
    if flow is None:
        raise ScenarioError(
            f"{path}: flow: expected one of {', '.join(FLOWS)}; found {texts['flow']!r}"
        )
    return flow.arguments


def _check_program(
    path: Path, texts: Mapping[str, str], program: dict[str, Any], arguments: Mapping[str, Any]
) -> Collection[str]:
    """Return the arguments that the command lines may name."""
    if texts["flow"]:
        raise ScenarioError(f"{path}: expected a flow or a [program]; found both")
    if not texts["page"].strip():
        raise ScenarioError(f"{path}: page: expected text beside a [program]; found none")
    _only(str(path), program, ROLES)
    for role in ROLES:
        words = program.get(role)
        if not isinstance(words, str) or not words.strip():
            raise ScenarioError(f"{path}: program, {role}: expected a command; found {words!r}")
        for name in WORD.findall(words):
            if name not in (*KNOWN, *arguments):
                raise ScenarioError(
                    f"{path}: program, {role}: expected one of "
                    f"{', '.join(sorted((*KNOWN, *arguments)))}; found {{{name}}}"
                )
    return arguments


def _table(path: Path, document: dict[str, Any], key: str) -> dict[str, Any]:
    table = document.get(key, {})
    if not isinstance(table, dict):
        raise ScenarioError(f"{path}: {key}: expected a table; found {table!r}")
    return table


def _check_arguments(where: str, arguments: Mapping[str, Any], known: Collection[str]) -> None:
    _only(where, arguments, known)
    for key, value in arguments.items():
        if type(value) is not int or not 0 < value <= MAX_ARGUMENT:
            raise ScenarioError(
                f"{where}: {key}: expected a number from 1 to {MAX_ARGUMENT}; found {value!r}"
            )


def _only(where: str, found: Collection[str], known: Collection[str]) -> None:
    if unknown := sorted(set(found) - set(known)):
        raise ScenarioError(
            f"{where}: expected only the keys {', '.join(known) or '(none)'}; "
            f"found {', '.join(unknown)}"
        )
