"""Our engine and the kernel's over a link that spoils packets: each recovers with the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from analysis.document import Results
from captures.truth import read
from tests.interop.plans import PLAN, RATES
from tests.interop.rig import Rig, rig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WRAPS = {"server": 790032, "client": 2446436}
"""Seeds from which this end draws a sq_psn of 0xFFFFFE: its first message wraps."""

FATES = {"link-lost", "link-damaged", "link-duplicated", "link-reordered", "link-marked"}


@pytest.fixture(scope="module", params=["server", "client"], ids="kernel-{}".format)
def booted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("rig"), "interop", kernel_end=request.param) as made:
        yield made


@pytest.fixture(scope="module")
def userspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("rig"), "userspace") as made:
        yield made


def codes(results: Results) -> set[str]:
    return {finding.code for finding in results.findings}


def passed(results: Results) -> Results:
    run = results.context.run
    assert run is not None
    assert run.status == "complete", run.reason
    assert results.verdict == "pass", results.findings
    verdicts = [str(one.verdict) for one in results.judgements]
    assert "match" in verdicts
    assert set(verdicts) <= {"match", "missing"}  # one end may have nothing to request
    return results


def negotiated(results: Results) -> list[dict[str, object]]:
    folder = results.context.folder
    assert folder is not None
    return [
        event[side]
        for name in ("server", "client")
        for event in read(folder / f"truth-{name}.jsonl").named("negotiated")
        for side in ("local", "remote")
    ]


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("mtu", [1024, 4096])
def test_secure_flow(booted: Rig, family: int, mtu: int) -> None:
    results = passed(booted.run("secure-flow", family=family, mtu=mtu))
    assert {event["path_mtu"] for event in negotiated(results)} == {mtu}
    assert not codes(results) & FATES


@pytest.mark.parametrize("end", ["server", "client"])
def test_psns_wrap(booted: Rig, end: str) -> None:
    results = passed(booted.run("secure-flow", seed=WRAPS[end]))
    assert 0xFFFFFE in {event["sq_psn"] for event in negotiated(results)}


def test_atomics(booted: Rig) -> None:
    passed(booted.run("atomics"))


def test_a_read_of_a_megabyte(booted: Rig) -> None:
    passed(booted.run("parameter-server", "weights=131072", "rounds=1"))


def test_several_clients(booted: Rig) -> None:
    results = passed(booted.run("secure-flow", clients=4))
    assert len(results.context.conversations.connections) == 4


@pytest.mark.parametrize("family", [4, 6])
def test_recovery_from_a_plan(booted: Rig, family: int) -> None:
    found = codes(passed(booted.run("secure-flow", faults=PLAN, family=family)))
    assert found >= {"requests-repeated", *FATES}


def test_recovery_from_chance(booted: Rig) -> None:
    found = codes(passed(booted.run("secure-flow", faults=RATES)))
    assert found >= {"link-lost", "link-damaged", "requests-repeated"}


def test_the_same_plan_on_userspace(userspace: Rig) -> None:
    found = codes(passed(userspace.run("secure-flow", faults=PLAN)))
    assert found >= {"requests-repeated", *FATES}


@pytest.fixture
def kernel_serves(booted: Rig) -> Rig:
    """One way round is enough for what follows."""
    if booted.kernel_end != "server":
        pytest.skip("run with the kernel as server")
    return booted


@pytest.mark.parametrize(
    "scenario",
    [
        *("srq", "uc", "ud", "write-imm-rendezvous", "inference-batching", "mr-cache"),
        *("error-bad-r-key", "error-no-permission", "error-out-of-bounds"),
        *("error-receive-too-short", "error-rnr", "error-rnr-late"),
    ],
)
def test_scenarios(kernel_serves: Rig, scenario: str) -> None:
    """Each flow checks its own data and statuses at both ends."""
    passed(kernel_serves.run(scenario))


@pytest.mark.parametrize(
    ("scenario", "verdict", "code"),
    [
        ("error-psn-ahead", "fail", "psn-copies-disagree"),
        ("error-psn-behind", "fail", "psn-copies-disagree"),
        ("error-retry-exhausted", "pass", "unanswered"),
    ],
)
def test_scenarios_that_end_in_an_error(
    kernel_serves: Rig, scenario: str, verdict: str, code: str
) -> None:
    results = kernel_serves.run(scenario)
    run = results.context.run
    assert run is not None
    assert run.status == "complete", run.reason
    assert results.verdict == verdict
    assert code in codes(results)
