"""Who was not scheduled must not take his own absence for his peer's."""

from __future__ import annotations

import select
import time

import pytest

from lab.verbs import libibverbs_enums as e
from lab.wire import udp
from tests.lab.verbs.ends import ends

SHORT = 6
"""Timeout code: 262 us."""


@pytest.mark.parametrize("fast", [False, True])
def test_an_ack_that_waits_in_the_socket_comes_before_the_timeout(fast: bool) -> None:
    with ends(fast=fast, timeout=SHORT) as (a, b):
        adapter = a.ctx.adapter
        with adapter.lock:
            a.send(e.IBV_WR_RDMA_WRITE, 4096, to=b)
            # B's own thread answers; A's waits for the lock, well beyond its timeout.
            arrived = select.poll()
            arrived.register(adapter._bottom.fileno(), select.POLLIN)
            assert arrived.poll(20_000)
            due = adapter.device.next_timer()
            assert due is not None
            while time.monotonic_ns() <= due:
                pass
            adapter._next_tick = 0  # of the fast one, which keeps time in ticks
            adapter._keep_time()
            assert adapter.device.counters["completer_retry_err"] == 0
        assert [wc.status for wc in a.wait()] == [0]


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("path_mtu", [1, 3, 5])
def test_a_small_receive_buffer_loses_nothing(
    fast: bool, path_mtu: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody receives until all is sent that may be: a program that sleeps, or is not scheduled."""
    monkeypatch.setattr(udp, "RECEIVE_BUFFER", 1 << 17)
    with ends(fast=fast, path_mtu=path_mtu, timeout=20) as (a, b):
        with b.ctx.adapter.lock:
            for number in range(8):
                a.send(e.IBV_WR_RDMA_WRITE, 1 << 17, number << 17, to=b)
        assert [wc.status for wc in a.wait(8)] == [0] * 8
        for end in (a, b):
            counters = end.ctx.adapter.device.counters
            assert counters["out_of_seq_request"] == counters["completer_retry_err"] == 0
