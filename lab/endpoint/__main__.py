"""Exit status 0: every connection ended orderly; 1: one did not, the cause on standard error."""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import time
from contextlib import ExitStack
from typing import Any

from captures.truth import Log
from lab.endpoint.config import Config
from lab.endpoint.device import counters, opened
from lab.endpoint.process import Process
from lab.endpoint.roles import ROLES, say


def main() -> int:
    """Run the endpoint that the command line names; see `lab.endpoint.config.Config`."""
    parser = argparse.ArgumentParser(prog="python -m lab.endpoint", description=__doc__)
    parser.add_argument("--config", required=True, metavar="FILE", help="JSON, see lab.endpoint")
    try:
        return run(Config.load(parser.parse_args().config))
    except Exception as error:  # the promise is one line, whatever went wrong
        return _failed(f"{type(error).__name__}: {error}")


def run(config: Config) -> int:
    """Open the device, be server or client to the end, close everything."""
    # A connection takes a few file descriptors; the usual soft limit of 1024 is for select().
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with ExitStack() as closing:
        truth = closing.enter_context(Log(config.truth))

        def record(event: str, **keys: Any) -> None:
            truth.write(time.time_ns(), event, **keys)

        verbs, context, device = closing.enter_context(opened(config))
        process = Process(config, verbs, context, record)
        role = ROLES[config.role](process)
        stopped = []

        def stop(number: int, _frame: object) -> None:
            stopped.append(signal.Signals(number).name)
            role.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        role.run()
        record("counters", device=device, counters=counters(context, device))
    say("ended", connections=process.ended, failed=len(process.failures))
    completed = process.ended - len(process.failures)
    if stopped and (process.failures or completed < config.clients):
        return _failed(f"{stopped[0]} after {completed} of {config.clients} connections")
    if process.failures:
        return _failed(f"{len(process.failures)} failed, the first: {process.failures[0]}")
    return 0


def _failed(cause: str) -> int:
    sys.stderr.write(" ".join(cause.split()) + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
