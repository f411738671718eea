"""`import pyverbs` that finds this package: a program written for pyverbs runs on the userspace
transport as it stands.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pkgutil import iter_modules

import lab.verbs


def install() -> None:
    """From now on `pyverbs` and its modules are those of `lab.verbs` in this process.

    What `lab.verbs` does not offer (docs/verbs.md lists it) is not found: ModuleNotFoundError.
    ImportError where the real pyverbs has been imported before.
    """
    if sys.modules.get("pyverbs", lab.verbs) is not lab.verbs:
        raise ImportError("the real pyverbs is imported already")
    sys.modules["pyverbs"] = lab.verbs
    for module in iter_modules(lab.verbs.__path__):
        if not module.name.startswith("_"):
            name = f"lab.verbs.{module.name}"
            if module.name != "fast":
                sys.modules[f"pyverbs.{module.name}"] = import_module(name)
