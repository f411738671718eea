"""An existing program (of rdma-core, perftest, or anybody's) as one end of a run.

    python -m lab.endpoint.program --config FILE

The program's words may name what this end alone knows: `{device}` and `{gid_index}` of `{address}`,
found in sysfs by value. All it prints goes to the file `output`. Exit status 0 if the program's
was; else 1, with its last line on standard error.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.endpoint.gids import devices, gids
from lab.endpoint.roles import say

WORD = re.compile(r"\{(\w+)\}")
KNOWN = ("address", "device", "gid_index", "path_mtu", "server_address")
"""What a program's words may name besides its scenario's arguments."""
MAX_OUTPUT = 1 << 22
"""Longest output kept, bytes."""
LISTENING = "0A"  # TCP_LISTEN, include/net/tcp_states.h, as /proc/net/tcp spells it
POLL_SECONDS = 0.1


class ProgramError(Exception):
    """A program that cannot be run; says expected and found."""


@dataclass(frozen=True, slots=True)
class Config:
    """What the file says. `device` chooses among several; `arguments` fill the words, too."""

    role: str
    address: str
    server_address: str
    command: Sequence[str]
    output: str
    path_mtu: int
    arguments: Mapping[str, int]
    device: str = ""


def main() -> int:
    """Run the program that the command line's configuration names."""
    parser = argparse.ArgumentParser(prog="python -m lab.endpoint.program", description=__doc__)
    parser.add_argument("--config", required=True, metavar="FILE", help="JSON, see Config")
    try:
        document = json.loads(Path(parser.parse_args().config).read_bytes())
        return run(Config(**document))
    except Exception as error:  # the promise is one line, whatever went wrong
        sys.stderr.write(" ".join(f"{type(error).__name__}: {error}".split()) + "\n")
        return 1


def run(config: Config) -> int:
    """Fill the words, start the program, say when it listens, keep what it prints."""
    device, index = find_gid(config.address, config.device)
    words = fill(
        config.command,
        {
            **config.arguments,
            "address": config.address,
            "device": device,
            "gid_index": index,
            "path_mtu": config.path_mtu,
            "server_address": config.server_address,
        },
    )
    if shutil.which(words[0]) is None:
        raise ProgramError(f"expected the program {words[0]} here, found none")
    with (
        Path(config.output).open("wb", buffering=0) as file,
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process,
    ):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda received, _frame: process.send_signal(received))
        printed = process.stdout
        assert printed is not None
        file.write(f"$ {' '.join(words)}\n".encode())
        if config.role == "server":
            watcher = threading.Thread(target=_tell_when_listening, args=(process,), daemon=True)
            watcher.start()
        last, kept = b"", 0
        for line in iter(lambda: printed.readline(65536), b""):
            last = line if line.strip() else last
            file.write(line[: MAX_OUTPUT - kept])
            kept = min(MAX_OUTPUT, kept + len(line))
        status = process.wait()
    say("ended", status=status)
    if status:
        cause = last.decode(errors="replace").strip() or "no output"
        raise ProgramError(f"{words[0]} ended with status {status}: {cause}")
    return 0


def fill(words: Sequence[str], values: Mapping[str, object]) -> list[str]:
    """Put values in place of `{name}`; ProgramError for a name that has none."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise ProgramError(
                f"{match[0]}: expected one of {', '.join(sorted(values))}, found {match[1]}"
            )
        return str(values[match[1]])

    return [WORD.sub(value, word) for word in words]


def find_gid(address: str, wanted: str = "") -> tuple[str, int]:
    """(device, GID index) of an IP address as RoCEv2 GID; ProgramError where there is none."""
    ip = ipaddress.ip_address(address)
    for device in [wanted] if wanted else devices():
        for gid in gids(device):
            if gid.address == ip:
                return device, gid.index
    raise ProgramError(
        f"expected {wanted or 'an RDMA device'} with a RoCEv2 GID of {address}, "
        f"found {', '.join(devices()) or 'no device'}"
    )


def _tell_when_listening(process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        if _listens_on_tcp(process.pid) or _listens_by_cm(process.pid):
            say("listening")
            return
        time.sleep(POLL_SECONDS)


def _listens_on_tcp(pid: int) -> bool:
    try:
        inodes = {
            target.removeprefix("socket:[").rstrip("]")
            for fd in Path(f"/proc/{pid}/fd").iterdir()
            if (target := str(fd.readlink())).startswith("socket:[")
        }
        tables = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
    except OSError:  # it has ended
        return False
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    return any(row[3] == LISTENING and row[9] in inodes for row in rows)


def _listens_by_cm(pid: int) -> bool:
    """rdma_cm's listeners are no sockets; the kernel tells of them by netlink alone."""
    try:
        done = subprocess.run(
            ["rdma", "resource", "show", "cm_id"], capture_output=True, text=True, check=False
        )
    except OSError:
        return False
    return any(
        "state LISTEN" in line and f"pid {pid} " in line for line in done.stdout.splitlines()
    )


if __name__ == "__main__":
    sys.exit(main())
