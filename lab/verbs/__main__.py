"""Run a program written for pyverbs on the userspace transport:

ROCELAB_DEVICES="roce_0=127.0.0.11" python -m lab.verbs PROGRAM [ARGUMENT]...
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from lab.verbs.alias import install


def main() -> None:
    """The program sees its own arguments, and its folder first on the path."""
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit((__doc__ or "").strip())
    program = sys.argv[1]
    if not Path(program).is_file():
        sys.exit(f"{program}: expected a Python program, found no such file")
    install()
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(program).resolve().parent)
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()
