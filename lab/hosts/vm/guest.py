"""One virtual machine: QEMU as a child process that cannot outlive us, and programs in it.

Network, console and ports are file descriptors that QEMU inherits: no socket and no temporary file
has a name, so nothing is left behind, whoever is killed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import captures
import dissectors
import lab
from lab.hosts.launch import launch
from lab.hosts.vm.errors import VmError
from lab.hosts.vm.image import Image

QEMU = "qemu-system-x86_64"
PORTS = 6
"""Programs that can run in a guest at the same time."""
BOOT_SECONDS = 120
_REMOTE = str(Path(__file__).with_name("remote.py"))
_QUIET = (
    "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check nokaslr "
    "random.trust_cpu=on audit=0 cryptomgr.notests nowatchdog rcupdate.rcu_expedited=1 rdinit=/init"
)
# Emulated, a kernel cannot count the ticks of its TSC in peace: on a busy machine it has been seen
# to misjudge its rate, and then to live ten times as fast as we do.
_CLOCK = {"kvm": "", "tcg,thread=multi": "clocksource=hpet tsc=unstable "}
_CODE = (captures, dissectors, lab)


@dataclass(frozen=True, slots=True)
class Machine:
    """What a guest is made of. `wire` is a datagram socket on which a datagram is a frame.

    `memory` in MiB: with less than 384 files of the image are silently missing. `seconds`: the
    guest turns itself off after so long, 0 for never. `mtu` is the link's, in bytes.
    """

    name: str
    image: Image
    wire: socket.socket
    mac: str
    mtu: int = 1500
    memory: int = 448
    seconds: int = 900


def accelerator() -> str:
    """KVM only where the processor has virtualisation: /dev/kvm may exist and be useless."""
    flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    virtual = flags is not None and {"vmx", "svm"} & set(flags[1].split())
    return "kvm" if virtual and os.access("/dev/kvm", os.R_OK | os.W_OK) else "tcg,thread=multi"


def _command(
    machine: Machine, shares: dict[str, Path], ports: Sequence[int], terminal: int
) -> list[str]:
    jumbo = f",host_mtu={machine.mtu}" if machine.mtu > 1500 else ""
    by = accelerator()
    words = [
        *(QEMU, "-M", "q35", "-cpu", "max", "-accel", by),
        *("-smp", "1", "-m", str(machine.memory)),
        *("-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"),
        *("-kernel", str(machine.image.vmlinux), "-initrd", str(machine.image.initrd)),
        *("-append", f"{_CLOCK[by]}{_QUIET} LAB_SECONDS={machine.seconds}"),
        *("-netdev", f"dgram,id=wire,local.type=fd,local.str={machine.wire.fileno()}"),
        *("-device", f"virtio-net-pci,netdev=wire,mac={machine.mac},romfile={jumbo}"),
        *("-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
        *(
            "-chardev",
            f"socket,id=terminal,fd={terminal}",
            "-device",
            "virtconsole,chardev=terminal",
        ),
    ]
    for number, fd in enumerate(ports):
        words += ["-chardev", f"socket,id=port{number},fd={fd}"]
        words += ["-device", f"virtserialport,chardev=port{number},name=lab{number}"]
    for tag, path in shares.items():
        writable = "" if tag.startswith("share") else ",readonly=on"
        # A comma in a path is doubled, as QEMU's options have it.
        option = f"local,id={tag},path={str(path).replace(',', ',,')},security_model=none{writable}"
        words += ["-fsdev", option, "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
    return words


class Guest:
    """A running guest. `start` may be called once `boot` has returned.

    `terminal` is our end of its second console, /dev/hvc0.
    """

    def __init__(
        self, machine: Machine, console: Path | None = None, shares: Sequence[Path] = ()
    ) -> None:
        """Start QEMU; the console goes to the file `console`.

        The folders `shares` will be seen in the guest under the same paths, writable; VmError
        without QEMU.
        """
        if shutil.which(QEMU) is None:
            raise VmError(f"expected {QEMU} 7.2 or later, found none; apt install qemu-system-x86")
        self.name = machine.name
        self._console = console.open("w+b") if console else TemporaryFile()  # noqa: SIM115
        self._ids = itertools.count()
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        pairs = [socket.socketpair() for _ in range(PORTS + 1)]
        self.terminal, *self._ports = [ours for ours, _ in pairs]
        theirs = [port.fileno() for _, port in pairs]
        folders = {str(module.__name__): Path(module.__path__[0]) for module in _CODE}
        self._shares = {f"share{n}": path.resolve() for n, path in enumerate(shares)}
        self.process = launch(
            _command(machine, {**folders, **self._shares}, theirs[1:], theirs[0]),
            pass_fds=[machine.wire.fileno(), *theirs],
            stdout=self._console,
            stderr=subprocess.STDOUT,
        )
        for _, port in pairs:
            port.close()

    def boot(self, setup: str) -> None:
        """Wait until the guest takes commands, mount its shares, run the shell script `setup`.

        VmError with the end of the console, or of what `setup` said, where that fails.
        """
        mounts = [
            f"mkdir -p {path} && mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 "
            f"{tag} {path}"
            for tag, path in ((tag, shlex.quote(str(path))) for tag, path in self._shares.items())
        ]
        script = "\n".join(["set -e", *mounts, setup])
        with self.start(
            ["sh", "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            try:
                _, said = process.communicate(timeout=BOOT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise self._failed(f"expected it within {BOOT_SECONDS} s") from None
        if process.returncode:
            raise self._failed(said.decode(errors="replace").strip())

    def _failed(self, reason: str) -> VmError:
        size = os.fstat(self._console.fileno()).st_size
        tail = os.pread(self._console.fileno(), 500, max(0, size - 500))
        log = tail.decode(errors="replace").strip()
        return VmError(f"guest {self.name} did not start: {reason}; its console ends: {log or '-'}")

    def start(
        self, command: Sequence[str], *, pass_fds: Sequence[int] = (), **popen: Any
    ) -> subprocess.Popen[bytes]:
        """Start a program in the guest; what is returned stands for it here, see remote.py."""
        for key in ("env", "cwd"):
            popen.pop(key, None)  # the guest has its own
        index = self._free_port()
        port_fd = self._ports[index].fileno()
        words = [sys.executable, "-I", "-S", _REMOTE, str(port_fd), str(next(self._ids))]
        words += [*map(str, pass_fds), "--"]
        words += ["python3" if word == sys.executable else word for word in command]
        process = launch(words, pass_fds=[port_fd, *pass_fds], **popen)
        self._running[index] = process
        return process

    def _free_port(self) -> int:
        for index in range(PORTS):
            running = self._running.get(index)
            if running is None or running.poll() is not None:
                return index
        raise VmError(f"expected at most {PORTS} programs at once in a guest")

    def close(self) -> None:
        """Turn it off."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.process.kill()
        self.process.wait()
        for port in (self.terminal, *self._ports):
            port.close()
        self._console.close()
