"""The RDMA device of an endpoint: opened from either provider, its log and its counters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from captures.pcapng_writer import Writer
from captures.truth import Log
from lab import providers
from lab.endpoint.config import Config
from lab.engine.dcqcn import Dcqcn
from lab.wire.frame import FrameWire
from lab.wire.tap import Tap

OUTBOUND = 2  # pcapng's packet flags
COUNTERS = "/sys/class/infiniband/{}/ports/1/hw_counters"


@contextmanager
def opened(config: Config) -> Iterator[tuple[Any, Any, str]]:
    """(verbs, Context, device's name) of the device that `config` names; closed at the end.

    Raises PyverbsError where there is no such device, ImportError without pyverbs.
    """
    with ExitStack() as closing:
        options: dict[str, Any] = {}
        if config.backend == "userspace":
            options["addresses"] = [config.speaks_from]
            if config.link is not None:
                fd, mac, neighbour = config.link.split()
                options["bottom"] = partial(FrameWire, fd=int(fd), mac=mac, neighbour=neighbour)
            if config.tap is not None:
                stream = closing.enter_context(Path(config.tap).open("wb", buffering=0))
                options["stack"] = partial(Tap, sink=_frames(stream))
            if config.dcqcn is not None:
                options["dcqcn"] = Dcqcn.scaled(config.dcqcn * 1_000_000)
            if config.log is not None:
                options["log"] = _decisions(closing.enter_context(Log(config.log)))
        verbs = providers.load(config.backend, **options)
        devices = [device.name.decode() for device in verbs.get_device_list()]
        if not devices:
            raise verbs.PyverbsUserError("expected an RDMA device, found none")
        device = config.device or devices[0]
        context = verbs.Context(name=device)
        closing.callback(context.close)
        yield verbs, context, device


def _frames(stream: BinaryIO) -> Callable[[bytes, int], None]:
    """Takes frames into a pcapng file, one write each: a killed process tears at most the last."""
    writer = Writer(stream)
    writer.interface("tap")
    return lambda frame, time_ns: writer.packet(frame, time_ns, flags=OUTBOUND)


def _decisions(log: Log) -> Callable[[Any], None]:
    """What the engine decides, with its clock turned into the time of day."""
    epoch = time.time_ns() - time.monotonic_ns()

    def write(decision: Any) -> None:
        keys = decision.as_dict()
        log.write(keys.pop("time_ns") + epoch, keys.pop("event"), **keys)

    return write


def counters(context: Any, device: str) -> dict[str, int]:
    """Packets and errors by the names of rxe's hw_counters; the kernel's from sysfs."""
    adapter = getattr(context, "adapter", None)
    if adapter is not None:
        with adapter.lock:
            return dict(adapter.device.counters)
    folder = Path(COUNTERS.format(device))
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    # `lifespan` is how often the kernel refreshes the others, not a counter.
    return {file.name: int(file.read_text()) for file in files if file.name != "lifespan"}
