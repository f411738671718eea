"""rdma-core's own tests against lab.verbs, where its source is at hand.

Debian's source package cannot be fetched by every machine, so that CI does not run this one; the
run that it must equal is in rdma_core-59.txt, and tests/lab/verbs pins what it showed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

VARIABLE = "RDMA_CORE_SOURCE"
RECORDED = Path(__file__).with_name("rdma_core-59.txt")


@pytest.mark.parametrize("options", [[], ["--fast"]])
def test_nothing_fails(options: list[str]) -> None:
    source = os.environ.get(VARIABLE)
    if source is None:
        pytest.skip(f"{VARIABLE} names no unpacked source of rdma-core")
    run = subprocess.run(
        [sys.executable, "-m", "tests.interop.rdma_core", source, "--json", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    outcomes = json.loads(run.stdout)
    assert [name for name, outcome, _ in outcomes if outcome == "failed"] == []
    passed = sum(outcome == "passed" for _, outcome, _ in outcomes)
    assert passed >= recorded_passes()


def recorded_passes() -> int:
    total = next(line for line in RECORDED.read_text().splitlines() if line.startswith("total"))
    return int(total.split()[1])


def test_the_recorded_run_has_no_failure() -> None:
    lines = RECORDED.read_text().splitlines()
    assert recorded_passes() > 100
    assert next(line for line in lines if line.startswith("total")).split()[3] == "0"
    assert not [line for line in lines if line.startswith("failed")]
