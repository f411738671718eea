"""Hosts booted once, on which scenarios run one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from analysis.document import Results
from analysis.verify import verify
from lab.hosts.linked import LinkedHosts
from lab.hosts.vm.end import DEVICE, GuestEnd
from lab.hosts.vm.hosts import Role
from lab.runner.backends import make
from lab.runner.options import Backend, Options
from lab.runner.run import execute
from lab.scenario import load
from tests.guests import guest_image, quiet

RENEWED = f"rdma link del {DEVICE}; rdma link add {DEVICE} type rxe netdev eth0"

_numbers = itertools.count(1)


class Rig:
    """A setting with a link with jumbo frames, and the folder its guests see."""

    def __init__(self, folder: Path, backend: Backend, kernel_end: Role) -> None:
        self.folder = folder
        self.kernel_end = kernel_end
        scenario = load("secure-flow")
        # Of userspace a plan, whatever is in it, puts the ends on a link that is ours.
        plan = folder / "no-faults.toml"
        plan.touch()
        self._options = Options(
            scenario,
            replace(scenario.defaults, mtu=4096),
            backend=backend,
            kernel_end=kernel_end,
            faults=plan,
        )
        self._boot()

    def _boot(self) -> None:
        self._setting = make(self._options, self.folder, quiet)
        assert isinstance(self._setting.hosts, LinkedHosts)
        self._guests = [
            end for end in self._setting.hosts.ends.values() if isinstance(end, GuestEnd)
        ]

    def close(self) -> None:
        """Give up the hosts."""
        self._setting.hosts.close()

    def _last_words(self) -> str:
        """The end of the console of guests that have ended; empty while all run."""
        consoles = [
            self.folder / f"console-{guest.host.name}.log"
            for guest in self._guests
            if guest.guest.process.poll() is not None
        ]
        return "".join(path.read_text(errors="replace")[-4000:] for path in consoles)

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
        if self._last_words():  # of a test before: its failure is not this one's
            self.close()
            self._boot()
        for guest in self._guests:
            assert guest.start(["sh", "-c", RENEWED]).wait(60) == 0
        number = next(_numbers)
        plan = None
        if faults:
            plan = self.folder / f"plan-{number}.toml"
            plan.write_text(faults)
        wanted = load(scenario).with_arguments(settings)
        options = replace(
            self._options,
            scenario=wanted,
            defaults=replace(wanted.defaults, family=family, clients=clients, mtu=mtu),
            seed=seed,
            faults=plan,
            out=self.folder / f"{number}-{scenario}",
        )
        directory = execute(options, quiet, self._setting)
        assert not self._last_words(), self._last_words()
        return verify(directory)


@contextmanager
def rig(folder: Path, backend: Backend, *, kernel_end: Role = "server") -> Iterator[Rig]:
    """Boot what `backend` needs; its guests see `folder`."""
    if backend != "userspace":
        guest_image()
    made = Rig(folder, backend, kernel_end)
    try:
        yield made
    finally:
        made.close()
