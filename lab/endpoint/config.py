"""The configuration file of an endpoint."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from lab.endpoint.psn_source import DEFAULT, SOURCES
from lab.exchange.messages import PATH_MTUS, shorten
from lab.exchange.session import Role
from lab.exchange.tls import PORT, Limits
from lab.flows.flow import Flow
from lab.flows.table import FLOWS

LINK_RATES = range(1, 1_000_001)
"""Mbit/s."""


class ConfigError(Exception):
    """A configuration that cannot be used; says which key, expected, found."""


@dataclass(frozen=True, slots=True)
class Config:
    """What the file may say: one JSON object with these keys. Paths are texts, times seconds.

    `address` is this end's own, for TLS and, without a `roce_address`, for RoCE; `server_address`
    the one a client connects to. The server ends after `clients` connections (0: at SIGTERM); the
    client makes as many at once. `flow` is by default the scenario's name; `arguments` are the
    flow's. `device` names an RDMA device where there are several. `psn_source` chooses the PSNs
    (lab.endpoint.psn_source),
    `seed` makes them the same again. `limits` are those of `Limits`, and `completion`: the longest
    wait for one work completion. Of userspace alone: `tap` is a pcapng file for the frames this end
    sends, for where nobody may capture; `log` takes the engine's decisions; `link` has it speak
    RoCE in Ethernet frames past the network stack (lab.wire.frame): file descriptor, own and
    neighbour's hardware address ("3 02:00:00:00:00:01 02:00:00:00:00:02"); `dcqcn` is the link's
    rate in Mbit/s, from which this end slows down for CNPs.
    """

    role: Role
    address: str
    ca: str
    certificate: str
    key: str
    truth: str
    server_name: str = ""
    server_address: str = ""
    roce_address: str = ""
    port: int = PORT
    scenario: str = "secure-flow"
    flow: str = ""
    arguments: Mapping[str, int] = field(default_factory=dict)
    backend: str = "userspace"
    device: str = ""
    clients: int = 1
    path_mtu: int = 1024
    seed: int | None = None
    psn_source: str = DEFAULT
    log: str | None = None
    keylog: str | None = None
    tap: str | None = None
    link: str | None = None
    dcqcn: int | None = None
    limits: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ConfigError for what would otherwise fail late or strangely."""
        for spec in fields(self):
            value = getattr(self, spec.name)
            if not isinstance(value, KINDS[str(spec.type)]) or isinstance(value, bool):
                raise ConfigError(f"{spec.name}: expected {spec.type}, found {shorten(value)}")
        _member("role", self.role, ("client", "server"))
        _member("flow", self.flow or self.scenario, FLOWS)
        _member("psn_source", self.psn_source, SOURCES)
        _member("path_mtu", self.path_mtu, PATH_MTUS)
        if self.dcqcn is not None and self.dcqcn not in LINK_RATES:
            raise ConfigError(
                f"dcqcn: expected {LINK_RATES.start} to {LINK_RATES[-1]} Mbit/s, found {self.dcqcn}"
            )
        for name, value in self.arguments.items():
            _member("arguments", name, self.running.arguments)
            if type(value) is not int or not 0 < value < 1 << 31:
                raise ConfigError(
                    f"arguments, {name}: expected 1 to 2^31-1, found {shorten(value)}"
                )
        for name, seconds in self.limits.items():
            _member("limits", name, ("completion", *(spec.name for spec in fields(Limits))))
            if not isinstance(seconds, int | float) or not seconds > 0:
                raise ConfigError(f"limits, {name}: expected seconds, found {shorten(seconds)}")
        if self.role == "client" and not (self.server_address and self.server_name):
            raise ConfigError("expected server_address and server_name for a client, found neither")

    @property
    def speaks_from(self) -> str:
        """The address whose GID the queue pairs have."""
        return self.roce_address or self.address

    @property
    def running(self) -> Flow:
        """The flow to run."""
        return FLOWS[self.flow or self.scenario]

    @classmethod
    def load(cls, path: str) -> Config:
        """Read the file `path`; raises ConfigError naming the key that is wrong."""
        try:
            document = json.loads(Path(path).read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from None
        if not isinstance(document, dict):
            raise ConfigError(f"{path}: expected a JSON object, found {shorten(document)}")
        specs = {spec.name: spec for spec in fields(cls)}
        for name in document:
            _member(path, name, specs)
        for name, spec in specs.items():
            required = spec.default is MISSING and spec.default_factory is MISSING
            if required and name not in document:
                raise ConfigError(f"{path}: expected the key {name!r}, found none")
        return cls(**document)


def _member(where: str, found: Any, allowed: Iterable[Any]) -> None:
    if found not in allowed:
        raise ConfigError(
            f"{where}: expected one of {', '.join(map(str, allowed))}, found {shorten(found)}"
        )


# Types as the dataclass above spells them -> what JSON gives
KINDS: dict[str, Any] = {
    "Role": str,
    "str": str,
    "int": int,
    "int | None": int | None,
    "str | None": str | None,
    "Mapping[str, int]": dict,
    "Mapping[str, float]": dict,
}
