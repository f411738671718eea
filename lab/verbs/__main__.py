"""Run a program written for pyverbs on the userspace transport:

ROCELAB_DEVICES="roce_0=127.0.0.11" python -m lab.verbs [--fast] PROGRAM [ARGUMENT]...

With --fast its queue pairs run in compiled code.
"""

from __future__ import annotations

import runpy
import sys
from importlib import import_module
from pathlib import Path

from lab.verbs.alias import install
from lab.verbs.device import Context
from lab.verbs.devices import Devices

USAGE = 2
"""Exit status where the command itself is wrong."""


def main() -> None:
    """The program sees its own arguments, and its folder first on the path."""
    words = sys.argv[1:]
    fast = words[:1] == ["--fast"]
    words = words[fast:]
    if not words or words[0].startswith("-"):
        sys.stderr.write(__doc__ or "")
        sys.exit(0 if words[:1] == ["--help"] else USAGE)
    program = Path(words[0])
    if not program.is_file():
        sys.stderr.write(f"{program}: expected a Python program, found no such file\n")
        sys.exit(USAGE)
    install()
    if fast:
        Context.devices = Devices.from_environment(import_module("lab.verbs.fast").FastAdapter)
    sys.argv = words
    sys.path[0] = str(program.resolve().parent)
    runpy.run_path(str(program), run_name="__main__")


if __name__ == "__main__":
    main()
