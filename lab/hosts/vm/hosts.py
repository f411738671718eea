"""Hosts of which at least one is a guest."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from lab.hosts.linked import End, LinkedHosts, NamespaceEnd
from lab.hosts.model import CLIENT, SERVER, Kind
from lab.hosts.vm.end import GuestEnd
from lab.hosts.vm.image import Image

Role = Literal["server", "client"]
ROLES: tuple[Role, ...] = ("server", "client")


def boot(
    image: Image,
    directory: Path | None,
    *,
    mtu: int,
    progress: Callable[[str], None],
    guests: tuple[Role, ...] = ROLES,
    forced: Kind | None = None,
) -> LinkedHosts:
    """Boot `guests`; an end that is not one of them is a network namespace, of kind `forced`.

    `directory` is seen in the guests under its own path, and gets their console logs; with none
    they are lost. VmError says why a guest did not start, HostsError why there is no namespace.
    """
    hosts = {"server": SERVER, "client": CLIENT}
    ends: dict[str, End] = {}
    why = ""
    with ExitStack() as undo:
        booting = []
        for role in ROLES:
            neighbour = hosts["client" if role == "server" else "server"]
            if role in guests:
                booting.append(GuestEnd(image, hosts[role], directory, mtu=mtu))
                ends[role] = booting[-1]
            else:
                namespace = ends[role] = NamespaceEnd(
                    hosts[role], neighbour, mtu=mtu, forced=forced
                )
                why = namespace.why
            undo.callback(ends[role].close)
        for end in booting:
            progress(f"booting the {end.host.name} (kernel {image.kernel})")
            end.boot()
        undo.pop_all()
    kind = "vm" if len(guests) == len(ROLES) else "interop"
    return LinkedHosts(kind, ends["server"], ends["client"], why=why)
