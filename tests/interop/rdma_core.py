"""rdma-core's own Python tests against lab.verbs:

    python -m tests.interop.rdma_core PATH-TO-RDMA-CORE [MODULE]... [--json] [--fast] [-v]

PATH is an unpacked rdma-core source (Debian: `apt-get source rdma-core`; the source distribution
of pyverbs holds one too); none of it is part of this project. `import pyverbs` is pointed at
`lab.verbs`; a module that it lacks (mlx5, efa, rdma_cm, flow steering, ...) is there with classes
that cannot be made: EOPNOTSUPP, as a device without the feature says.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import json
import os
import random
import sys
import unittest
from collections import Counter
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from lab.verbs.adapter import Adapter
from lab.verbs.alias import install
from lab.verbs.device import Context
from lab.verbs.devices import Devices
from lab.verbs.pyverbs_error import PyverbsRDMAError

MODULES = (
    "addr",
    "atomic",
    "cq",
    "cq_events",
    "cqex",
    "device",
    "flow",
    "fork",
    "mr",
    "odp",
    "parent_domain",
    "pd",
    "qp",
    "qpex",
    "rdmacm",
    "relaxed_ordering",
    "rss_traffic",
    "shared_pd",
    "srq",
    "tag_matching",
)
"""All but those of one maker's devices (mlx5, efa, cuda)."""

SKIPPED = {
    "test_get_pkey_index": "reads /sys/class/infiniband, which a kernel's device has",
    "test_query_port_speed": "Context.query_port_speed came after pyverbs 59",
    "test_reg_mrex_bad_flags": "MREx came after pyverbs 59",
}
"""Tests that would not skip themselves."""
ADDRESS = f"127.{1 + os.getpid() % 250}.{os.getpid() // 250 % 250}.59"


class AbsentClass(type):
    """A class that no device here has: its constants are 0, and it cannot be made."""

    def __getattr__(cls, name: str) -> int:
        if name.startswith("__"):
            raise AttributeError(name)
        return 0

    def __call__(cls, *_: Any, **__: Any) -> Any:
        raise PyverbsRDMAError(f"{cls.__name__} is not supported", errno.EOPNOTSUPP)


def absent(name: str) -> AbsentClass:
    """What stands for `name`; AttributeError for Python's own names."""
    if name.startswith("__"):
        raise AttributeError(name)
    return AbsentClass(name, (), {})


class Absent(ModuleType):
    """A module of pyverbs that lab.verbs lacks."""

    def __getattr__(self, name: str) -> Any:
        return absent(name)


class AbsentFinder(MetaPathFinder, Loader):
    """Finds every `pyverbs` module that nothing else found."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.startswith("pyverbs.") else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Absent(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class Counting(unittest.TestResult):
    """What came of each test, with the reason where it did not pass."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: list[tuple[str, str, str]] = []

    def _note(self, test: unittest.TestCase, outcome: str, why: str = "") -> None:
        self.outcomes.append((test.id().removeprefix("tests."), outcome, why))

    def addSuccess(self, test: unittest.TestCase) -> None:
        self._note(test, "passed")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._note(test, "skipped", reason)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._note(test, "failed", self._exc_info_to_string(err, test))  # type: ignore[attr-defined]

    addError = addFailure  # noqa: N815  (unittest's name)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def point_at(source: Path) -> None:
    """`import pyverbs` gives lab.verbs, `import tests` the tests of `source`."""
    install()
    # Names that pyverbs got after 59 are absent as well.
    for name, module in list(sys.modules.items()):
        if name.startswith("pyverbs."):
            vars(module)["__getattr__"] = absent
    sys.meta_path.append(AbsentFinder())
    for name in [name for name in sys.modules if name == "tests" or name.startswith("tests.")]:
        del sys.modules[name]
    package = ModuleType("tests")
    package.__path__ = [str(source / "tests")]
    sys.modules["tests"] = package
    sys.path.insert(0, str(source / "tests"))
    sys.argv = ["rdma_core"]
    importlib.import_module("args_parser").parser.parse_args()
    # It asks the kernel (`rdma link`, sysfs) for the device's interface, and there is none.
    case = importlib.import_module("tests.base").RDMATestCase
    case.get_net_name = staticmethod(lambda *_: None)


def run(
    source: Path, modules: list[str], seed: int, *, fast: bool = False
) -> list[tuple[str, str, str]]:
    """(test, outcome, reason) of every test of `modules`."""
    point_at(source)
    start = importlib.import_module("lab.verbs.fast").FastAdapter if fast else Adapter
    Context.devices = Devices({"roce_0": lambda: start(ADDRESS)})
    result = Counting()
    for name in modules:
        random.seed(seed)
        module = importlib.import_module(f"tests.test_{name}")
        for case in unittest.defaultTestLoader.loadTestsFromModule(module):
            for test in case:  # type: ignore[union-attr]
                method = test.id().rpartition(".")[2]
                if method in SKIPPED:
                    setattr(test, method, unittest.skip(SKIPPED[method])(lambda: None))
                test.run(result)
    return result.outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("source", type=Path)
    parser.add_argument("modules", nargs="*", default=list(MODULES))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fast", action="store_true", help="queue pairs in compiled code")
    parser.add_argument("-v", "--verbose", action="store_true", help="say why a test was skipped")
    options = parser.parse_args()
    if not (options.source / "tests" / "base.py").is_file():
        parser.error(f"{options.source}: expected rdma-core's source, found no tests/base.py in it")
    outcomes = run(options.source, options.modules, options.seed, fast=options.fast)
    failed = sum(outcome == "failed" for _, outcome, _ in outcomes)
    if options.json:
        say(json.dumps(outcomes))
        return bool(failed)
    table = Counter((name.split(".")[0], outcome) for name, outcome, _ in outcomes)
    columns = ("passed", "skipped", "failed")
    say(f"{'module':24}" + "".join(f"{column:>9}" for column in columns))
    for module in (f"test_{name}" for name in options.modules):
        say(f"{module:24}" + "".join(f"{table[module, column]:9}" for column in columns))
    totals = Counter(outcome for _, outcome, _ in outcomes)
    say(f"{'total':24}" + "".join(f"{totals[column]:9}" for column in columns))
    for name, outcome, why in outcomes:
        if outcome == "failed" or (options.verbose and outcome == "skipped"):
            say(f"{outcome} {name}: {why}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
