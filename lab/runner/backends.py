"""What a backend is: which hosts, whose transport at each end, and who holds the link."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab.hosts.choose import choose, link_mtu
from lab.hosts.linked import LinkedHosts, NamespaceEnd
from lab.hosts.machine import TLS_ADDRESSES, MachineHosts
from lab.hosts.model import CLIENT, SERVER, Hosts, HostsError
from lab.hosts.vm.hosts import ROLES, boot
from lab.hosts.vm.image import find
from lab.runner.options import Backend, Options

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a run takes place.

    `endpoints` are, by role, keys of an endpoint's configuration (lab.endpoint.config), and `fds`
    the file descriptors it is given. `wires` are, by role, sockets that carry frames, where the
    link between the hosts is ours (lab.wire.port). `versions` are for run.json. `python` runs
    the endpoints.
    """

    hosts: Hosts
    endpoints: Mapping[str, Mapping[str, str]]
    fds: Mapping[str, Sequence[int]] = field(default_factory=dict)
    wires: Mapping[str, Sequence[int]] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    python: str = sys.executable


def _userspace(options: Options, _directory: Path, _progress: Progress) -> Setting:
    mtu = link_mtu(options.defaults.mtu)
    if options.faults:
        server = NamespaceEnd(SERVER, CLIENT, mtu=mtu, forced=options.hosts)
        client = NamespaceEnd(CLIENT, SERVER, mtu=mtu, forced=options.hosts)
        return _linked(LinkedHosts(server.kind, server, client, why=server.why))
    userspace = {"backend": "userspace"}
    return Setting(choose(options.hosts, mtu=mtu), {"server": userspace, "client": userspace})


def _kernel(options: Options, _directory: Path, _progress: Progress) -> Setting:
    if options.faults:
        raise HostsError("expected no fault plan with the kernel backend: its link is not ours")
    hosts = MachineHosts(options.device)
    endpoints = {
        host.name: {
            "backend": "kernel",
            "device": hosts.devices[host.name],
            "roce_address": host.address(options.defaults.family),
            "address": TLS_ADDRESSES[host.name],
            "server_address": TLS_ADDRESSES["server"],
        }
        for host in (hosts.server, hosts.client)
    }
    return Setting(hosts, endpoints, python=hosts.python)


def _with_guests(options: Options, directory: Path, progress: Progress) -> Setting:
    image = find(options.kernel)
    guests = ROLES if options.backend == "vm" else (options.kernel_end,)
    mtu = link_mtu(options.defaults.mtu)
    hosts = boot(image, directory, mtu=mtu, progress=progress, guests=guests, forced=options.hosts)
    return replace(_linked(hosts), versions={"guest": f"Linux {image.kernel}"})


def _linked(hosts: LinkedHosts) -> Setting:
    return Setting(
        hosts,
        {role: end.endpoint for role, end in hosts.ends.items()},
        {role: end.fds for role, end in hosts.ends.items()},
        hosts.wires,
    )


MAKERS: dict[Backend, Callable[[Options, Path, Progress], Setting]] = {
    "userspace": _userspace,
    "kernel": _kernel,
    "vm": _with_guests,
    "interop": _with_guests,
}


def make(options: Options, directory: Path, progress: Progress) -> Setting:
    """Make the hosts that `options.backend` asks for; HostsError says why they cannot be."""
    guests = MAKERS[options.backend] is _with_guests
    if options.capture != "auto" and (guests or options.faults):
        raise HostsError(
            f"expected no --capture with guests or a fault plan, found {options.capture}: their "
            "link is ours and records both its ends"
        )
    if options.hosts and options.backend == "vm":
        raise HostsError(f"expected no --hosts with the vm backend, found {options.hosts}")
    return MAKERS[options.backend](options, directory, progress)
