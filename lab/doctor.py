"""What works on this machine, why not the better thing, and how to mend it. Tried, not guessed."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab.endpoint.gids import devices
from lab.hosts.choose import choose, make
from lab.hosts.machine import python
from lab.hosts.model import Hosts, HostsError, Kind
from lab.hosts.vm.errors import VmError
from lab.hosts.vm.guest import QEMU
from lab.hosts.vm.image import find
from lab.recorder.model import RecorderError
from lab.recorder.process import COMMANDS, ProcessRecorder

_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Check:
    """One answer. `area` is hosts, capture, backend or witness; `mend` is empty if it works."""

    area: str
    name: str
    works: bool
    detail: str
    mend: str = ""


# A kernel setting, the value that stands in the way, of which kinds of hosts, and how to change it.
USER_NAMESPACE, ANY = ("userns",), ("netns", "userns")
SETTINGS = (
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        USER_NAMESPACE,
        "AppArmor keeps ordinary users from user namespaces: "
        "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, or run as root",
    ),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        USER_NAMESPACE,
        "this kernel keeps user namespaces for root: "
        "sudo sysctl kernel.unprivileged_userns_clone=1, or run as root",
    ),
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        USER_NAMESPACE,
        "no user namespaces are allowed: sudo sysctl user.max_user_namespaces=10000",
    ),
    (
        "/proc/sys/user/max_net_namespaces",
        "0",
        ANY,
        "no network namespaces are allowed: sudo sysctl user.max_net_namespaces=10000",
    ),
)


def mend_hosts(kind: Kind) -> str:
    """What to change so that hosts of `kind` can be made here."""
    if kind == "netns" and os.geteuid() != 0:
        return "run as root; not needed where userns works"
    for file, value, kinds, advice in SETTINGS:
        path = Path(file)
        if kind in kinds and path.exists() and path.read_text().strip() == value:
            return advice
    return (
        "in a container, allow it namespaces (docker run --cap-add SYS_ADMIN --cap-add NET_ADMIN "
        "--security-opt seccomp=unconfined); on a machine of its own, modprobe veth"
    )


def hosts_checks() -> Iterator[Check]:
    """Whether each kind of hosts can be made."""
    kinds: tuple[tuple[Kind, str], ...] = (
        ("netns", "two network namespaces joined by a veth pair, made by root"),
        ("userns", "two network namespaces joined by a veth pair, in a user namespace"),
        ("loopback", "two addresses 127.0.0.x; IPv4 only"),
    )
    for kind, detail in kinds:
        try:
            make(kind, mtu=9000).close()
        except HostsError as error:
            yield Check("hosts", kind, works=False, detail=str(error), mend=mend_hosts(kind))
        else:
            yield Check("hosts", kind, works=True, detail=detail)


MEND_CAPTURE = {
    "tcpdump": "install tcpdump (apt install tcpdump)",
    "scapy": "capturing needs hosts in namespaces, or root",
}


def capture_checks(hosts: Hosts) -> Iterator[Check]:
    """Whether each way of recording works on the hosts a run would use."""
    start = functools.partial(hosts.start, "server")
    for method in COMMANDS:
        with tempfile.TemporaryDirectory(prefix="rocelab-") as folder:
            try:
                recorder = ProcessRecorder(
                    method, start, hosts.server.interface, Path(folder) / "capture.pcap"
                )
                recorder.stop()
            except RecorderError as error:
                mend = MEND_CAPTURE[method] if "installed" in str(error) else MEND_CAPTURE["scapy"]
                yield Check("capture", method, works=False, detail=str(error), mend=mend)
            else:
                detail = f"whole frames from {hosts.server.interface}"
                yield Check("capture", method, works=True, detail=detail)
    yield Check("capture", "tap", works=True, detail="the endpoints write what they send")


def backend_checks() -> Iterator[Check]:
    """Whether each provider of verbs works."""
    yield Check("backend", "userspace", works=True, detail="our RC engine over UDP 4791")
    found, mend = devices(), ""
    try:
        detail = f"devices {', '.join(found)}; pyverbs of {python()}"
    except HostsError as error:
        detail, _, mend = str(error).rpartition("; ")
    if not found:
        detail, mend = "this kernel has no RDMA device", "rocelab doctor no-device"
    yield Check("backend", "kernel", works=not mend, detail=detail, mend=mend)
    yield vm_check()


def vm_check() -> Check:
    """Whether guests can be booted: QEMU, and an image that this version built."""
    if shutil.which(QEMU) is None:
        return Check(
            "backend",
            "vm",
            works=False,
            detail=f"{QEMU} is not installed",
            mend="install QEMU 7.2 or later (apt install qemu-system-x86), then rocelab vm build",
        )
    try:
        image = find()
    except VmError as error:
        return Check("backend", "vm", works=False, detail=str(error), mend="rocelab vm build")
    return Check("backend", "vm", works=True, detail=f"two guests with Linux {image.kernel}")


def witness_checks() -> Iterator[Check]:
    """Whether the second witness can be heard."""
    tshark = shutil.which("tshark")
    if tshark is None:
        yield Check(
            "witness",
            "tshark",
            works=False,
            detail="tshark is not installed; verdicts will say that this witness is missing",
            mend="install tshark (apt install tshark)",
        )
        return
    try:
        done = subprocess.run(
            [tshark, "--version"], capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        mend = "reinstall tshark"
        yield Check("witness", "tshark", works=False, detail=str(error), mend=mend)
        return
    yield Check("witness", "tshark", works=True, detail=done.stdout.splitlines()[0].rstrip("."))


def python_check() -> Check:
    """The interpreter this runs on."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", version, works=True, detail=sys.executable)


def examine() -> dict[str, Any]:
    """Try everything; `{"schema": 1, "hosts", "capture", "checks": [...]}`, first two chosen."""
    hosts = choose()
    areas: tuple[Callable[[], Iterator[Check]], ...] = (
        hosts_checks,
        functools.partial(capture_checks, hosts),
        backend_checks,
        witness_checks,
    )
    try:
        checks = [python_check(), *(check for area in areas for check in area())]
    finally:
        hosts.close()
    capture = next(check.name for check in checks if check.area == "capture" and check.works)
    return {
        "schema": 1,
        "hosts": hosts.kind,
        "hosts_why": hosts.why,
        "capture": capture,
        "checks": [asdict(check) for check in checks],
    }
