"""What a backend is: which hosts, whose transport at each end, and who holds the link."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.hosts.choose import choose, link_mtu
from lab.hosts.model import Hosts
from lab.hosts.vm import image
from lab.hosts.vm.hosts import VmHosts
from lab.runner.options import Backend, Options

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a run takes place.

    `providers` says by role whose verbs an endpoint uses. `wires` are, by role, the file
    descriptors of sockets that carry frames, where the link between the hosts is ours.
    """

    hosts: Hosts
    providers: Mapping[str, str]
    wires: Mapping[str, int] | None = None


def _userspace(options: Options, _directory: Path, _progress: Progress) -> Setting:
    hosts = choose(options.hosts, mtu=link_mtu(options.defaults.mtu))
    return Setting(hosts, dict.fromkeys(("server", "client"), "userspace"))


def _vm(options: Options, directory: Path, progress: Progress) -> Setting:
    guests = VmHosts(
        image.find(options.kernel),
        directory,
        mtu=link_mtu(options.defaults.mtu),
        progress=progress,
    )
    wires = {role: wire.fileno() for role, wire in guests.wires.items()}
    return Setting(guests, dict.fromkeys(("server", "client"), "kernel"), wires)


MAKERS: dict[Backend, Callable[[Options, Path, Progress], Setting]] = {
    "userspace": _userspace,
    "vm": _vm,
}


def make(options: Options, directory: Path, progress: Progress) -> Setting:
    """Make the hosts that `options.backend` asks for; HostsError says why they cannot be."""
    return MAKERS[options.backend](options, directory, progress)
