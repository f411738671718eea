"""Programs of rdma-core and perftest as scenarios, unchanged, in one pair of guests."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.verify import verify
from captures.run import load as load_run
from lab.runner.backends import Setting, make
from lab.runner.options import Options
from lab.runner.run import execute
from lab.scenario import FOLDER, load, names
from tests.guests import guest_image, quiet
from tests.requires import tool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Scenario -> verdict, who negotiated, verdicts of directions, what the programs print
EXPECTED = {
    "ibv_rc_pingpong": ("pass", "pingpong", {"match": 2}, "100 iters in"),
    "ibv_uc_pingpong": ("pass", "pingpong", {"match": 2}, "100 iters in"),
    "ibv_ud_pingpong": ("pass", "pingpong", {"match": 2}, "100 iters in"),
    "ibv_srq_pingpong": ("pass", "pingpong", {"match": 8}, "100 iters in"),
    "ib_write_bw": ("pass", "perftest", {"match": 2, "missing": 2}, "BW average"),
    "ib_read_bw": ("pass", "perftest", {"match": 2, "missing": 2}, "BW average"),
    "ib_send_bw": ("pass", "perftest", {"match": 2, "missing": 2}, "BW average"),
    "ib_atomic_bw": ("pass", "perftest", {"match": 1, "missing": 1}, "BW average"),
    "rping": ("pass", "rdma-cm", {"match": 2}, "rdma-ping-4"),
    "ucmatose": ("pass", "rdma-cm", {"match": 4}, "return status 0"),
    # Datagrams: the connection manager negotiates no PSN for them.
    "udaddy": ("inconclusive", None, {"not-negotiated": 2}, "return status 0"),
    "minimal-cm": ("pass", "rdma-cm", {"match": 1, "missing": 1}, "written by the client"),
}


def test_every_scenario_with_programs_is_run_here() -> None:
    with_programs = {name for name in names() if load(name).program}
    assert with_programs == set(EXPECTED)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="module")
def setting(shared: Path) -> Iterator[Setting]:
    guest_image()
    scenario = load("rping")
    made = make(Options(scenario, scenario.defaults, backend="vm"), shared, quiet)
    try:
        yield made
    finally:
        made.hosts.close()


@pytest.mark.parametrize("name", EXPECTED)
def test_what_a_program_puts_on_the_wire_is_judged(
    name: str, setting: Setting, shared: Path
) -> None:
    tool("tshark")
    verdict, source, directions, printed = EXPECTED[name]
    scenario = load(name)
    options = Options(scenario, scenario.defaults, backend="vm", out=shared / name)
    directory = execute(options, quiet, setting)
    run = load_run(directory)
    assert (run.status, run.reason) == ("complete", "")
    assert {"output-server.txt", "output-client.txt"} <= set(run.sha256)
    for role in ("server", "client"):
        output = (directory / f"output-{role}.txt").read_text()
        assert output.startswith(f"$ {scenario.program[role].split()[0]} ")
    assert printed in output
    results = verify(directory)
    assert results.verdict == verdict
    found = [judgement.verdict for judgement in results.judgements]
    assert {each: found.count(each) for each in found} == directions
    sources = {
        said.source
        for connection in results.context.conversations.connections
        for said in connection.negotiated
    }
    assert sources == ({source} if source else set())


def test_a_program_that_fails_says_why(setting: Setting, shared: Path) -> None:
    text = (FOLDER / "ib_write_bw.toml").read_text().replace(" -n {iterations}", " --no-such")
    assert tomllib.loads(text)
    file = shared / "bad.toml"
    file.write_text(text)
    scenario = load(str(file))
    options = Options(scenario, scenario.defaults, backend="vm", out=shared / "bad")
    run = load_run(execute(options, quiet, setting))
    assert run.status == "failed"
    assert "ib_write_bw ended with status" in run.reason
