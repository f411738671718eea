"""What a run with guests costs, from the command to its verdict: python -m tests.bench.guests

Wall-clock time says little on a machine that does other things: look at CPU seconds, and at the
load beside them. The first run after the lab's code was changed is slower, for the guests compile
it anew; `rocelab vm build` keeps the compiled form.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BACKENDS = ("vm", "interop", "userspace")


def measured(backend: str) -> dict[str, object]:
    """One secure-flow: seconds to the verdict, of these in QEMU and all our other programs."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["run", "--backend", backend, "--seed", "1", "--json", "--out", f"{folder}/run"]
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "lab.cli", *words], capture_output=True, text=True, check=False
        )
        after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        if done.returncode:
            sys.exit(f"{backend}: {done.stderr.strip()}")
        run = json.loads((Path(folder) / "run/run.json").read_text())
    return {
        "backend": backend,
        "verdict": json.loads(done.stdout)["verdict"],
        "seconds": ended - begun,
        "run_seconds": (run["ended_ns"] - run["started_ns"]) / 1e9,
        "cpu_seconds": sum(
            getattr(after, f) - getattr(before, f) for f in ("ru_utime", "ru_stime")
        ),
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Measure and print a line a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=BACKENDS, action="append")
    parser.add_argument("--times", type=int, default=1)
    options = parser.parse_args()
    print("backend    verdict  to verdict   the run      CPU   load")
    for backend in options.backend or BACKENDS:
        for _ in range(options.times):
            print(
                "{backend:<10} {verdict:<8} {seconds:8.1f} s {run_seconds:7.1f} s "
                "{cpu_seconds:6.1f} s {load:6.1f}".format(**measured(backend))
            )


if __name__ == "__main__":
    main()
