"""`rocelab run`: options checked, the run, and its judgement, which is called by import string."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
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
        scenario = load(name).with_arguments(settings)
        defaults = replace(scenario.defaults, **overrides)
        defaults.check("options")
        check_program(scenario, defaults, options)
        _check_dcqcn(options.get("dcqcn"), options.get("backend"))
        if options.get("faults"):
            load_plan(options["faults"])
        directory = execute(Options(scenario, defaults, **options), progress)
    except (ScenarioError, HostsError, RunnerError, PlanError) as error:
        progress("")
        sys.stderr.write(f"rocelab: {printable(str(error))}\n")
        return USAGE
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


def judged(directory: Path, *, json: bool) -> int:
    """Print the verdict and the evidence, write the report; the judgement's exit status."""
    report = directory / "report.html"
    status = 0
    try:
        import_module("analysis.cli").analyze(directory, json=json, report=report)
    except SystemExit as done:
        status = done.code if isinstance(done.code, int) else FAIL
    if report.exists() and not json:
        sys.stdout.write(f"\nreport: {report}\nrun:    {directory}\n")
    return status


def progress(step: str) -> None:
    """Show what is being done, on a terminal only; "" clears the line."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{step}{'...' if step else ''}")
        sys.stderr.flush()
