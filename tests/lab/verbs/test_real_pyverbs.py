"""The kernel provider over the real pyverbs (Debian: python3-pyverbs, of the system's Python).

Every name that flows use is there, and lab.verbs offers what it offers.
"""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from lab.providers import NAMES
from tests.lab.verbs.test_surface import find, is_refused
from tests.requires import lacking

PYTHON = "/usr/bin/python3"
ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import inspect, json, pkgutil, sys
import pyverbs
from lab import providers
verbs = providers.load("kernel")
try:
    devices = [device.name.decode() for device in verbs.get_device_list()]
except verbs.PyverbsRDMAError as error:
    devices = str(error)  # a kernel without RDMA
found = {}
for module in sys.argv[1:]:
    try:
        loaded = __import__(f"pyverbs.{module}", fromlist=["x"])
    except ImportError:
        continue
    for name, value in vars(loaded).items():
        if name.startswith("_") or getattr(value, "__module__", None) != loaded.__name__:
            continue
        members = vars(value) if inspect.isclass(value) else ()
        found[f"{module}.{name}"] = sorted(one for one in members if not one.startswith("_"))
print(json.dumps({"names": sorted(vars(verbs)), "devices": devices, "found": found}))
"""
MODULES = ("addr", "base", "cq", "device", "fork", "mem_alloc", "mr", "pd", "pyverbs_error", "qp")
MODULES += ("srq", "utils", "wr", "xrcd")


@cache
def real() -> dict[str, Any]:
    """What the real pyverbs has."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    run = subprocess.run(
        [PYTHON, "-c", SCRIPT, *MODULES],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    if run.returncode:
        lacking(f"{PYTHON} has no pyverbs (python3-pyverbs): {run.stderr.strip()[-200:]}")
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def test_every_name_of_the_providers_is_there() -> None:
    names = {name for names in NAMES.values() for name in names}
    assert names <= set(real()["names"])
    assert {"IBV_QPT_RC", "IBV_ACCESS_LOCAL_WRITE", "ibv_wc_status"} <= set(real()["names"])


def test_devices_are_the_kernels() -> None:
    """Where the kernel has no RDMA at all, libibverbs cannot list them."""
    devices = real()["devices"]
    assert isinstance(devices, list) or devices.startswith("Failed to get devices list")


def test_what_it_offers_is_offered_here() -> None:
    for name, members in real()["found"].items():
        path = name.split(".")
        for one in (path, *([*path, member] for member in members)):
            if not is_refused(one):
                find(one)


def test_it_is_large_enough_to_tell() -> None:
    assert len(real()["found"]) > 60
