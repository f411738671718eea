"""Where verbs come from: the userspace transport, or the kernel's through pyverbs. The same names
from either.

    verbs = load("userspace", addresses=["10.0.0.1"])
    with verbs.Context(name="roce_0") as ctx, verbs.PD(ctx) as pd: ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import Any

# Module -> the names a flow may use of it.
NAMES = {
    "device": ("Context", "get_device_list"),
    "pd": ("PD",),
    "mr": ("MR",),
    "cq": ("CQ", "CompChannel", "WC", "cqe_status_to_str", "cqe_opcode_to_str"),
    "qp": ("QP", "QPAttr", "QPCap", "QPInitAttr"),
    "srq": ("SRQ", "SrqAttr", "SrqInitAttr"),
    "wr": ("SGE", "RecvWR", "SendWR"),
    "addr": ("AH", "AHAttr", "GID", "GRH", "GlobalRoute"),
    "pyverbs_error": ("PyverbsError", "PyverbsRDMAError", "PyverbsUserError"),
}


def load(provider: str, **options: Any) -> SimpleNamespace:
    """A namespace with the classes of `NAMES` and every constant of libibverbs' enumerations
    (`IBV_...`).

    "userspace" takes `addresses` and what `userspace` below takes; "kernel" takes nothing.
    Raises ValueError for another provider, ImportError where pyverbs is not installed.
    """
    if provider not in PROVIDERS:
        raise ValueError(f"provider {provider!r}, expected one of {', '.join(PROVIDERS)}")
    return PROVIDERS[provider](**options)


def kernel() -> SimpleNamespace:
    """The real pyverbs; its device list is the kernel's."""
    modules = map(_try_import, ("pyverbs.libibverbs_enums", "pyverbs.enums"))
    enums = next(filter(None, modules), None)
    if enums is None:
        raise ImportError("the kernel provider needs pyverbs (Debian: python3-pyverbs)")
    return _namespace("pyverbs", enums)


def userspace(
    addresses: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    tap: Callable[[bytes, int], None] | None = None,
    bottom: Callable[[str], Any] | None = None,
    stack: Callable[[Any], Any] | None = None,
    random: Any = None,
    fast: bool = False,
    log: Callable[[Any], None] | None = None,
    **engine: Any,
) -> SimpleNamespace:
    """The engine over UDP: device `roce_<n>` (or `names[n]`) is `addresses[n]`, port 4791.

    `tap` takes each frame a device sends, and the time of day in ns; `bottom` opens another wire
    than UDP for an address; `stack` wraps a device's wire in others (faults, a tap of your own).
    `random` draws queue-pair numbers and keys (default: numbers count from 17, keys come from the
    system). `log` takes each Decision of the engine. `fast` runs queue pairs in compiled code,
    which has a UDP socket of its own; ValueError with another wire. `engine` is what
    lab.engine.device.Device takes besides: `dcqcn`, `flow_control`.
    """
    if fast and (tap or bottom or stack):
        raise ValueError("expected no tap, bottom or stack beside fast, found one")
    adapter = import_module("lab.verbs.fast" if fast else "lab.verbs.adapter")
    start = adapter.FastAdapter if fast else adapter.Adapter
    devices = import_module("lab.verbs.devices")
    names = names or [f"roce_{index}" for index in range(len(addresses))]

    def build(wire: Any) -> Any:
        tapped = import_module("lab.wire.tap").Tap(wire, tap) if tap else wire
        return stack(tapped) if stack else tapped

    wires = {"stack": build if tap or stack else None, "bottom": bottom}
    wires = {name: given for name, given in wires.items() if given}

    def starter(address: str) -> Callable[[], Any]:
        return lambda: start(address, random=random, log=log, **wires, **engine)

    listed = devices.Devices(
        {name: starter(address) for name, address in zip(names, addresses, strict=True)}
    )
    verbs = _namespace("lab.verbs", import_module("lab.verbs.libibverbs_enums"))
    verbs.Context = type("Context", (verbs.Context,), {"devices": listed})
    verbs.get_device_list = lambda: import_module("lab.verbs.device").get_device_list(listed)
    return verbs


def _namespace(package: str, enums: Any) -> SimpleNamespace:
    found = SimpleNamespace(
        **{name: value for name, value in vars(enums).items() if name.startswith(("IBV_", "ibv_"))}
    )
    for module, names in NAMES.items():
        loaded = import_module(f"{package}.{module}")
        for name in names:
            setattr(found, name, getattr(loaded, name))
    return found


def _try_import(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        return None


PROVIDERS: dict[str, Callable[..., SimpleNamespace]] = {"userspace": userspace, "kernel": kernel}
