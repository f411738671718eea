"""What a run could leave behind, counted."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def namespaces(process: str = "[0-9]*") -> set[str]:
    """The network namespaces that some process, or the one given, is in or holds open."""
    found = set()
    proc = Path("/proc")
    for link in [*proc.glob(f"{process}/ns/net"), *proc.glob(f"{process}/fd/*")]:
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith("net:["):
            found.add(target)
    return found


def command_lines() -> dict[int, str]:
    """Command line of every process, by id."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


def children(pid: int) -> dict[int, str]:
    """The processes that `pid` started and that still run, with their command lines."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = command_lines()
    return {int(child): lines.get(int(child), "") for child in listed}


def held() -> dict[str, object]:
    """What this process holds."""
    return {
        "files": {link.name for link in Path("/proc/self/fd").iterdir()},
        "threads": threading.active_count(),
        "children": set(children(os.getpid())),
    }
