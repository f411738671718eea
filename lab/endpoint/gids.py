"""The GIDs of RDMA devices, as the kernel's sysfs tells them (Documentation/ABI/stable/
sysfs-class-infiniband). Port 1 alone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DEVICES = Path("/sys/class/infiniband")
_ROCE_V2 = "RoCE v2"


@dataclass(frozen=True, slots=True)
class Gid:
    """One RoCEv2 GID of `device`: its index, IP address, and the network device it belongs to."""

    device: str
    index: int
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    interface: str


def devices() -> list[str]:
    """The RDMA devices seen here, by name."""
    return sorted(path.name for path in DEVICES.iterdir()) if DEVICES.is_dir() else []


def gids(device: str) -> Iterator[Gid]:
    """The RoCEv2 GIDs of a device, in the order of their indices."""
    port = DEVICES / device / "ports" / "1"
    try:
        files = sorted((port / "gids").iterdir(), key=lambda path: int(path.name))
    except OSError:  # no such device, or no such port
        return
    for file in files:
        try:
            kind, interface = (
                (port / "gid_attrs" / name / file.name).read_text().strip()
                for name in ("types", "ndevs")
            )
            address = ipaddress.IPv6Address(file.read_text().strip())
        except (OSError, ValueError):  # an index that nothing fills cannot be read
            continue
        if kind == _ROCE_V2:
            yield Gid(device, int(file.name), address.ipv4_mapped or address, interface)
