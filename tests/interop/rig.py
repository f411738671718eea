"""Hosts booted once, on which scenarios run one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from analysis.document import Results
from analysis.verify import verify
from lab.hosts.linked import LinkedHosts
from lab.hosts.vm.end import DEVICE, GuestEnd
from lab.hosts.vm.hosts import Role
from lab.runner.backends import Setting, make
from lab.runner.options import Backend, Options
from lab.runner.run import execute
from lab.scenario import load
from tests.guests import guest_image, quiet

RENEWED = f"rdma link del {DEVICE}; rdma link add {DEVICE} type rxe netdev eth0"

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Rig:
    """A setting, and the folder its guests see."""

    folder: Path
    backend: Backend
    setting: Setting
    hosts: LinkedHosts
    kernel_end: Role

    def run(
        self,
        scenario: str,
        *settings: str,
        faults: str = "",
        seed: int = 1,
        family: int = 4,
        clients: int = 1,
        mtu: int = 1024,
    ) -> Results:
        """Run a scenario on fresh RDMA devices and judge what was recorded.

        PSNs come from a seed: three random bytes can stand in the payload by chance, and a fault's
        address must mean the same packet every time.
        """
        for end in self.hosts.ends.values():
            if isinstance(end, GuestEnd):
                assert end.start(["sh", "-c", RENEWED]).wait(30) == 0
        number = next(_numbers)
        plan = None
        if faults:
            plan = self.folder / f"plan-{number}.toml"
            plan.write_text(faults)
        wanted = load(scenario).with_arguments(settings)
        defaults = replace(wanted.defaults, family=family, clients=clients, mtu=mtu)
        options = Options(
            wanted,
            defaults,
            backend=self.backend,
            seed=seed,
            faults=plan,
            out=self.folder / f"{number}-{scenario}",
        )
        return verify(execute(options, quiet, self.setting))


@contextmanager
def rig(folder: Path, backend: Backend, *, kernel_end: Role = "server") -> Iterator[Rig]:
    """Boot what `backend` needs, on a link with jumbo frames; its guests see `folder`."""
    if backend != "userspace":
        guest_image()
    scenario = load("secure-flow")
    # Of userspace a plan, whatever is in it, puts the ends on a link that is ours.
    plan = folder / "no-faults.toml"
    plan.touch()
    options = Options(
        scenario,
        replace(scenario.defaults, mtu=4096),
        backend=backend,
        kernel_end=kernel_end,
        faults=plan,
    )
    setting = make(options, folder, quiet)
    try:
        assert isinstance(setting.hosts, LinkedHosts)
        yield Rig(folder, backend, setting, setting.hosts, kernel_end)
    finally:
        setting.hosts.close()
