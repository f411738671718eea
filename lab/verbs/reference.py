"""What of pyverbs is supported, from the docstrings of its classes.

`python -m lab.verbs.reference > docs/verbs.md` writes the page anew. A class says so in its
docstring's last paragraph: `Support: full.`, `Support: partly. What is not.` or `Support: no. Why.`
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

import lab.verbs
from lab.verbs.base import PyverbsObject

LEVELS = {"full": "supported", "partly": "partly", "no": "not supported"}
NOT_OFFERED = {
    "cmid": "connections of rdma_cm are the kernel's; the lab exchanges parameters by TLS",
    "dma_util": "doorbells and barriers of a device's own queues",
    "dmabuf": "memory of a GPU",
    "flow": "flow steering, for raw packet queue pairs",
    "providers": "what one maker's devices have besides (mlx5, efa)",
    "spec": "flow steering, for raw packet queue pairs",
    "wq": "work queues and indirection tables, for raw packet queue pairs",
}
"""Modules of pyverbs that are not there, and what they are for."""

HEAD = """# The verbs API

`lab.verbs` has the classes, arguments, defaults, constants and errors of pyverbs 59 (rdma-core's
Python API; the names of 44 too), on the userspace transport. A program written for pyverbs runs as
it stands:

    ROCELAB_DEVICES="roce_0=127.0.0.11" python -m lab.verbs [--fast] PROGRAM [ARGUMENT]...

Refused verbs raise `PyverbsRDMAError` with the errno of libibverbs and the rule that was broken.
What is not supported is refused with EOPNOTSUPP, as a device without the feature does.

rdma-core's own Python tests run against it, from a source of rdma-core that you have:

    python -m tests.interop.rdma_core PATH-TO-RDMA-CORE

What needs a kernel or a feature that is not supported is skipped, and nothing fails: of rdma-core
56.1, 59 and 65.0, recorded in [tests/interop/rdma_core-59.txt](../tests/interop/rdma_core-59.txt).

This page is made from the docstrings: `python -m lab.verbs.reference > docs/verbs.md`.
"""


def classes() -> Iterator[tuple[str, type]]:
    """(module, class) of the API, in the modules that pyverbs has them in."""
    for module in sorted(found.name for found in iter_modules(lab.verbs.__path__)):
        if module in HELPERS or module.startswith("_"):
            continue
        loaded = import_module(f"lab.verbs.{module}")
        for name, kind in sorted(vars(loaded).items()):
            public = not name.startswith("_") and inspect.isclass(kind)
            if public and issubclass(kind, PyverbsObject | Exception) and home(kind) == module:
                yield module, kind


_HOMES = {
    "device_attr": "device",
    "qp_attr": "qp",
    "qpex": "qp",
    "queue_pair": "qp",
}
"""Modules whose classes pyverbs has in another."""
HELPERS = {"adapter", "alias", "devices", "fast", "interface", "reference", *_HOMES}
"""Modules that pyverbs does not have."""


def home(kind: type) -> str:
    """The module of pyverbs that has the class."""
    module = kind.__module__.rpartition(".")[2]
    return _HOMES.get(module, module)


def support(kind: type) -> tuple[str, str]:
    """(level, what is not supported) as its docstring says; ValueError where it does not."""
    text = " ".join((kind.__doc__ or "").split())
    found = re.search(r"Support: (full|partly|no)\b([.,]? ?)(.*)", text)
    if found is None:
        raise ValueError(f"{kind.__module__}.{kind.__name__}: its docstring has no `Support:`")
    rest = found[3]
    return LEVELS[found[1]], rest[:1].upper() + rest[1:]


def reference() -> str:
    """The page."""
    lines = [HEAD, "## Classes\n", "| class | support | |", "| --- | --- | --- |"]
    for module, kind in classes():
        level, rest = support(kind)
        lines.append(
            f"| `{module}.{kind.__name__}` | {level} | {rest.replace('|', chr(92) + '|')} |"
        )
    lines += ["\n## Modules that are not there\n", "| module | what it is for |", "| --- | --- |"]
    lines += [f"| `pyverbs.{module}` | {why} |" for module, why in NOT_OFFERED.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
