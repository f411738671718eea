"""What a run is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lab.hosts.model import Kind
from lab.hosts.vm.hosts import Role
from lab.scenario import Defaults, Scenario

Backend = Literal["userspace", "kernel", "vm", "interop"]
CaptureMethod = Literal["auto", "tcpdump", "scapy", "tap"]
PsnSource = Literal["csprng", "odd", "lrand48", "counter", "qpn", "constant"]


@dataclass(frozen=True, slots=True)
class Options:
    """All a run depends on. `mtu` is the path MTU, bytes. `psn_source` chooses the PSNs
    (lab.endpoint.psn_source), `seed` makes them the same again.

    `hosts` None and `capture` "auto" choose the best there is; `out` None is a new directory
    under `runs`. `kernel` is that of the virtual machines (lab.hosts.vm.image.find), `kernel_end`
    the end that is one in "interop"; `faults` is a fault plan (lab.wire.plan), checked;
    `dcqcn` is the link's rate in Mbit/s where our ends shall slow down for CNPs. `device` names
    this machine's own RDMA devices (lab.hosts.machine).
    """

    scenario: Scenario
    defaults: Defaults
    backend: Backend = "userspace"
    seed: int | None = None
    psn_source: PsnSource = "csprng"
    capture: CaptureMethod = "auto"
    hosts: Kind | None = None
    out: Path | None = None
    kernel: str | None = None
    kernel_end: Role = "server"
    faults: Path | None = None
    dcqcn: int | None = None
    device: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For run.json."""
        return {
            "clients": self.defaults.clients,
            "family": self.defaults.family,
            "mtu": self.defaults.mtu,
            "seed": self.seed,
            "psn_source": self.psn_source,
            "capture": self.capture,
            "hosts": self.hosts or "auto",
            "arguments": dict(self.scenario.arguments),
            "kernel": self.kernel,
            "kernel_end": self.kernel_end,
            "device": self.device,
            "faults": str(self.faults) if self.faults else None,
            "dcqcn": self.dcqcn,
        }
