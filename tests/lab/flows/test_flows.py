"""Every flow, at both ends; what it posted and how that ended."""

from __future__ import annotations

import pytest

from lab.flows.table import FLOWS
from tests.lab.flows.conftest import Ends

SMALL = {"bulk": {"size": 5_000_001, "chunk": 100_000}}
OK = "IBV_WC_SUCCESS"
# flow -> statuses of the work at the client and at the server, in order
STATUSES = {
    "connect-only": ([], []),
    "error-bad-r-key": (["IBV_WC_REM_ACCESS_ERR", "IBV_WC_WR_FLUSH_ERR"], []),
    "error-no-permission": (["IBV_WC_REM_ACCESS_ERR", "IBV_WC_WR_FLUSH_ERR"], []),
    "error-out-of-bounds": (["IBV_WC_REM_ACCESS_ERR", "IBV_WC_WR_FLUSH_ERR"], []),
    "error-rnr": (["IBV_WC_RNR_RETRY_EXC_ERR"], []),
    "error-rnr-late": ([OK], [OK]),
    "error-psn-ahead": (["IBV_WC_RETRY_EXC_ERR"], []),
    "error-retry-exhausted": (["IBV_WC_RETRY_EXC_ERR"], []),
}


@pytest.mark.parametrize("name", sorted(FLOWS))
def test_runs_to_its_end_and_is_documented(ends: Ends, name: str) -> None:
    outcomes = ends.run(name, arguments=SMALL.get(name, {}), limits={"completion": 2.5})
    assert [outcome.failures for outcome in outcomes.values()] == [[], []]
    for outcome in outcomes.values():
        assert all(keys["ok"] for keys in outcome.named("checked"))
    if name in STATUSES:
        found = [[w["status"] for w in outcomes[r].named("work")] for r in ("client", "server")]
        assert found == list(STATUSES[name])
    page = FLOWS[name].page
    for part in ("Teaches:", "On the wire:", "Look at:"):
        assert part in page


def test_workers_meet_at_the_parameter_server(ends: Ends) -> None:
    """Each worker's weights hold every worker's gradients, or the flow's own check would fail."""
    outcomes = ends.run("parameter-server", clients=5, arguments={"weights": 100})
    assert [outcome.failures for outcome in outcomes.values()] == [[], []]
    checked = outcomes["client"].named("checked")
    assert len(checked) == 15
    assert all(keys["ok"] for keys in checked)
