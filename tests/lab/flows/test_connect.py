from __future__ import annotations

import os

import pytest

from lab import providers
from lab.flows.connect import Connection, address_of, find_gid, gid_of
from lab.flows.end import FlowError
from lab.flows.flow import Setup


@pytest.mark.parametrize(
    ("address", "gid", "back"),
    [
        ("10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1"),
        ("fd00::1", "fd00::1", "fd00::1"),
        ("fe80::1%eth0", "fe80::1", "fe80::1"),
    ],
)
def test_addresses_and_gids(address: str, gid: str, back: str) -> None:
    assert gid_of(address) == gid
    assert address_of(gid) == back


def test_a_gid_is_found_by_value() -> None:
    pid = os.getpid()
    address = f"127.{1 + pid // 250 % 250}.{pid % 250}.31"
    verbs = providers.load("userspace", addresses=[address])
    with verbs.Context(name="roce_0") as context:
        assert find_gid(context, address) == 0
        with pytest.raises(FlowError, match=r"expected a GID for 10\.9\.9\.9 on the device, found"):
            find_gid(context, "10.9.9.9")


def test_nothing_is_left_when_creating_fails() -> None:
    """The PD and MR that were made before the queue pair are given back."""
    pid = os.getpid()
    verbs = providers.load("userspace", addresses=[f"127.{1 + pid // 250 % 250}.{pid % 250}.32"])
    with verbs.Context(name="roce_0") as context:
        with pytest.raises(AttributeError, match="IBV_QPT_XX"):
            Connection(verbs, context, 64, lambda *_: None, Setup(qp_type="XX"))  # type: ignore[arg-type]
        assert not context.pds
        assert not context.cqs
