"""A little of the run in transport.py: nothing is lost, and all that was hostile is counted."""

from __future__ import annotations

import pytest

from tests.fuzz.transport import besieged


@pytest.mark.parametrize("fast", [False, True])
def test_transfers_go_on_under_fire(fast: bool) -> None:
    rounds, counters = besieged(10_000, seed=1, fast=fast)
    assert rounds >= 3
    names = ["rcvd_malformed_err", "rcvd_icrc_err", "bad_pkey_cntr", "rcvd_unknown_qp"]
    for name in [*names, "rcvd_not_for_qp", "duplicate_request"]:
        assert counters[name] > 100, name
    assert counters["resp_invalid_requests"] == counters["resp_remote_access_errors"] == 0
