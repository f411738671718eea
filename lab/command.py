"""`rocelab run`: options checked, the run, and its judgement, which is called by import string."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from captures.run import load as load_run
from dissectors.text import printable
from lab.endpoint.config import LINK_RATES
from lab.endpoint.psn_source import DEFAULT
from lab.hosts.model import HostsError
from lab.runner.options import Options
from lab.runner.run import RunnerError, execute
from lab.scenario import Defaults, Scenario, ScenarioError, load
from lab.wire.plan import PlanError
from lab.wire.plan import load as load_plan

FAIL, USAGE, INTERRUPTED = 1, 2, 130
REFUSALS = (ScenarioError, HostsError, RunnerError, PlanError)
"""Why a run does not begin."""
WITH_PROGRAMS = ("vm", "kernel")
NOT_PROGRAMS = ("dcqcn", "faults", "psn_source", "seed")
"""Options that only our own endpoints know what to do with."""


def run_scenario(
    name: str,
    overrides: Mapping[str, int],
    settings: Sequence[str],
    *,
    json: bool,
    **options: Any,
) -> int:
    """Run the scenario `name`; the exit status of the command.

    `overrides` replace its defaults, `settings` ("size=4096") its flow's arguments.
    """
    try:
        directory = execute(_checked(name, overrides, settings, options), progress)
    except REFUSALS as error:
        return _refused(error)
    progress("")
    run = load_run(directory)
    if run.status == "interrupted":
        sys.stderr.write(f"rocelab: {run.reason}; what was recorded is in {directory}\n")
        return INTERRUPTED
    if run.status == "failed":
        sys.stderr.write(f"rocelab: the run failed: {printable(run.reason)}\n")
    try:
        status = judged(directory, json=json)
    except KeyboardInterrupt:
        sys.stderr.write(f"rocelab: interrupted; judge the run with: rocelab verify {directory}\n")
        return INTERRUPTED
    return FAIL if run.status == "failed" else status


def check_program(scenario: Scenario, defaults: Defaults, options: Mapping[str, Any]) -> None:
    """Raise ScenarioError where existing programs are asked for what they cannot do."""
    if not scenario.program:
        return
    backend = options["backend"]
    if backend not in WITH_PROGRAMS:
        raise ScenarioError(
            f"{scenario.name}: expected a backend whose ends are kernels with RDMA, since it runs "
            f"existing programs; found {backend}; run: rocelab run {scenario.name} --backend vm"
        )
    given = {name for name in NOT_PROGRAMS if options.get(name) not in {None, DEFAULT}}
    given |= {"clients"} if defaults.clients > 1 else set()
    if given:
        raise ScenarioError(
            f"{scenario.name}: expected none of the options that a flow of rocelab's own takes, "
            f"found --{sorted(given)[0].replace('_', '-')}"
        )


def _check_dcqcn(rate: int | None, backend: str | None) -> None:
    if rate is None:
        return
    if rate not in LINK_RATES:
        raise ScenarioError(
            f"--dcqcn: expected {LINK_RATES.start} to {LINK_RATES[-1]} Mbit/s; found {rate}"
        )
    if backend in WITH_PROGRAMS:
        raise ScenarioError(
            "--dcqcn: expected an end of ours, --backend userspace or interop; found "
            f"{backend}, and the kernel's Soft-RoCE does not slow down for CNPs"
        )


def run_compared(
    backends: Sequence[str],
    name: str,
    overrides: Mapping[str, int],
    settings: Sequence[str],
    *,
    json: bool,
    **options: Any,
) -> int:
    """Run the scenario on each of `backends`, show their recoveries side by side; the status."""
    out = options.pop("out")
    each = [{"backend": one, "out": out / one if out else None} for one in backends]
    try:
        wanted = [_checked(name, overrides, settings, options | own) for own in each]
        directories = [execute(one, progress) for one in wanted]
    except REFUSALS as error:
        return _refused(error)
    progress("")
    for backend, directory in zip(backends, directories, strict=True):
        run = load_run(directory)
        if run.status != "complete":
            reason = printable(run.reason)
            sys.stderr.write(f"rocelab: on {backend} the run {run.status}: {reason}\n")
            return INTERRUPTED if run.status == "interrupted" else FAIL
    status = _status_of(lambda: import_module("analysis.cli").compare(*directories, json=json))
    if not json:
        sys.stdout.writelines(["\n", *(f"run: {directory}\n" for directory in directories)])
    return status


def _checked(
    name: str, overrides: Mapping[str, int], settings: Sequence[str], options: Mapping[str, Any]
) -> Options:
    scenario = load(name).with_arguments(settings)
    defaults = replace(scenario.defaults, **overrides)
    defaults.check("options")
    check_program(scenario, defaults, options)
    _check_dcqcn(options.get("dcqcn"), options.get("backend"))
    if options.get("faults"):
        load_plan(options["faults"])
    return Options(scenario, defaults, **options)


def _refused(error: Exception) -> int:
    progress("")
    sys.stderr.write(f"rocelab: {printable(str(error))}\n")
    return USAGE


def judged(directory: Path, *, json: bool) -> int:
    """Print the verdict and the evidence, write the report; the judgement's exit status."""
    report = directory / "report.html"
    analyze = import_module("analysis.cli").analyze
    status = _status_of(lambda: analyze(directory, json=json, report=report))
    if report.exists() and not json:
        sys.stdout.write(f"\nreport: {report}\nrun:    {directory}\n")
    return status


def _status_of(command: Callable[[], None]) -> int:
    try:
        command()
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else FAIL
    return 0


def progress(step: str) -> None:
    """Show what is being done, on a terminal only; "" clears the line."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{step}{'...' if step else ''}")
        sys.stderr.flush()
