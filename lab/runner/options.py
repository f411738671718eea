"""What a run is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lab.hosts.model import Kind
from lab.scenario import Defaults, Scenario

Backend = Literal["userspace"]
CaptureMethod = Literal["auto", "tcpdump", "scapy", "tap"]


@dataclass(frozen=True, slots=True)
class Options:
    """All a run depends on. `mtu` is the path MTU, bytes; no `seed`: PSNs from the CSPRNG.

    `hosts` None and `capture` "auto" choose the best there is; `out` None is a new directory
    under `runs`.
    """

    scenario: Scenario
    defaults: Defaults
    backend: Backend = "userspace"
    seed: int | None = None
    capture: CaptureMethod = "auto"
    hosts: Kind | None = None
    out: Path | None = None

    def as_dict(self) -> dict[str, Any]:
        """For run.json."""
        return {
            "clients": self.defaults.clients,
            "family": self.defaults.family,
            "mtu": self.defaults.mtu,
            "seed": self.seed,
            "capture": self.capture,
            "hosts": self.hosts or "auto",
            "arguments": dict(self.scenario.arguments),
        }
