"""What pyverbs offers: its classes, methods, properties and functions with arguments, from source.

    python -m tests.interop.pyverbs_surface PATH-TO-PYVERBS > tests/lab/verbs/pyverbs-59.txt

PATH is the folder of pyverbs' .pyx files (in rdma-core's source: `pyverbs`). A line is a name with
its module, `cq.CQ.poll(num_entries=1)`; properties have no brackets.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

_CLASS = re.compile(r"^(?:cdef )?class (\w+)")
_DEF = re.compile(r"^( *)(?:cp)?def (\w+)\((.*)\):", re.S)
_OLD_PROPERTY = re.compile(r"^    property (\w+):")
_START = re.compile(r"^ *(?:cp)?def \w+\(")


def logical_lines(text: str) -> Iterator[str]:
    """Lines with the arguments of a `def` joined on one."""
    held = ""
    for line in text.splitlines():
        if held or _START.match(line):
            held += (" " if held else "") + (line.strip() if held else line)
            if held.count("(") == held.count(")"):
                yield held
                held = ""
        else:
            yield line


def argument(text: str) -> str:
    """An argument without its C type: `name` or `name=default`."""
    name, _, default = text.replace("not None", "").partition("=")
    bare = name.split()[-1]
    return f"{bare}={default.strip()}" if default else bare


def arguments(text: str) -> str:
    """All of them but `self`."""
    return ", ".join(argument(part) for part in text.split(",") if part.strip() and part != "self")


def surface(path: Path) -> Iterator[str]:
    """The lines of one module."""
    module, owner, is_property = path.stem, "", False
    # Without comments and documentation.
    text = re.sub(r'"{3}.*?"{3}', "", path.read_text(), flags=re.S)
    text = re.sub(r"#.*", "", text)
    for line in logical_lines(text):
        if found := _CLASS.match(line):
            owner = found[1]
            yield f"{module}.{owner}"
        elif found := _OLD_PROPERTY.match(line):
            yield f"{module}.{owner}.{found[1]}"
        elif found := _DEF.match(line):
            indent, name, given = found.groups()
            if not indent and not name.startswith("_"):
                yield f"{module}.{name}({arguments(given)})"
            elif is_property:
                yield f"{module}.{owner}.{name}"
            elif len(indent) == 4 and not name.startswith("_"):
                yield f"{module}.{owner}.{name}({arguments(given)})"
            elif name == "__init__":
                yield f"{module}.{owner}({arguments(given)})"
        is_property = line.strip() == "@property" or line.strip().endswith(".setter")


def main() -> None:
    folder = Path(sys.argv[1])
    files = sorted(
        [*folder.glob("*.pyx"), *folder.glob("pyverbs_error.py"), *folder.glob("utils.py")]
    )
    lines = dict.fromkeys(line for file in files for line in surface(file))
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
