"""Python's modules compiled by the guest itself: its Python need not be of this machine's version.

Emulated, compiling takes seconds of every start; so the image is booted once while it is made,
which also shows that it boots.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from contextlib import closing
from pathlib import Path

from lab.hosts.vm.errors import VmError
from lab.hosts.vm.guest import Guest, Machine
from lab.hosts.vm.image import Image

FOLDER = "var/cache/python"
"""Where the image keeps them (init.sh: PYTHONPYCACHEPREFIX)."""
_IMPORTS = """
import base64, fcntl, json, threading
import lab.endpoint.__main__, lab.providers
lab.providers.load("kernel")
"""
_SECONDS = 120


def compiled(image: Image) -> dict[str, bytes]:
    """The compiled form of the modules an endpoint uses, by path under the cache's prefix.

    VmError if the image does not boot or lacks one of them.
    """
    folder = image.folder / "compiled"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        _compile(image, folder)
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.pyc")}
    finally:
        shutil.rmtree(folder)


def _compile(image: Image, folder: Path) -> None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, there:
        machine = Machine("image", image, there, "02:00:00:00:00:01")
        guest = Guest(machine, shares=[folder])
    with closing(guest):
        guest.boot("")
        command = ["env", f"PYTHONPYCACHEPREFIX={folder.resolve()}", "python3", "-c", _IMPORTS]
        with guest.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            _, said = process.communicate(timeout=_SECONDS)
    if process.returncode:
        reason = said.decode(errors="replace").strip().splitlines()
        raise VmError(f"the image lacks what an endpoint needs: {reason[-1:] or 'no reason'}")
