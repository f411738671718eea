"""Virtual machines for tests: the image, built once and kept in the user's cache."""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.hosts.launch import launch
from lab.hosts.linked import LinkedHosts
from lab.hosts.vm import build, image
from lab.hosts.vm.errors import VmError
from lab.hosts.vm.hosts import boot
from lab.recorder.link import LinkRecorder
from tests.requires import lacking, tool


def quiet(_step: str) -> None:
    """Progress that nobody watches."""


@functools.cache
def guest_image(kernel: str | None = None) -> image.Image:
    """The image; in CI it is built where there is none, elsewhere the test is skipped."""
    tool("qemu-system-x86_64")
    try:
        return image.find(kernel)
    except VmError as error:
        if not os.environ.get("CI"):
            lacking(str(error))
    return build.build(kernel, lambda _fraction, _step: None)


@contextmanager
def guests(directory: Path, *, mtu: int = 1500) -> Iterator[LinkedHosts]:
    """Two guests that see `directory`; on no wire yet."""
    hosts = boot(guest_image(), directory, mtu=mtu, progress=quiet)
    try:
        yield hosts
    finally:
        hosts.close()


@contextmanager
def linked(hosts: LinkedHosts, file: Path, plan: Path | None = None) -> Iterator[LinkRecorder]:
    """The wire between them, recorded in `file`."""
    link = LinkRecorder(launch, hosts.wires, file, plan=plan)
    try:
        yield link
        link.stop()
    finally:
        link.kill()


def run(hosts: LinkedHosts, host: str, script: str, seconds: float = 60) -> tuple[int, str, str]:
    """Run a shell script in a guest: exit status, standard output, standard error."""
    with hosts.start(
        host, ["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        out, err = process.communicate(timeout=seconds)
    return process.returncode, out.decode(), err.decode()
