"""Hypothesis strategies for the transport: work, fault plans, PSNs."""

from __future__ import annotations

from hypothesis import strategies as st

from lab.engine.work import WROpcode
from lab.wire.faults import Action, Effect, Fault

sq_psns = st.one_of(st.integers(0, 0xFFFFFF), st.integers(0xFFFFF0, 0xFFFFFF))
path_mtus = st.sampled_from([256, 512, 1024, 2048, 4096])

CARRYING = (
    WROpcode.SEND,
    WROpcode.SEND_WITH_IMM,
    WROpcode.RDMA_WRITE,
    WROpcode.RDMA_WRITE_WITH_IMM,
    WROpcode.RDMA_READ,
)
ATOMIC = (WROpcode.ATOMIC_FETCH_AND_ADD, WROpcode.ATOMIC_CMP_AND_SWP)

work = st.one_of(
    st.tuples(st.sampled_from(CARRYING), st.integers(0, 3000)),
    st.tuples(st.sampled_from(ATOMIC), st.just(8)),
)
"""(opcode, bytes)."""

effects = st.builds(
    Effect,
    st.sampled_from(Action),
    delay_ns=st.sampled_from([1, 5_000, 1_000_000, 200_000_000]),
    bit=st.integers(0, 1 << 16),
)

faults = st.builds(
    Fault, effects, offset=st.integers(0, 30), nth=st.integers(1, 2), response=st.booleans()
)
"""Each strikes a PSN's first or second passing, so that its third is good."""

fault_plans = st.tuples(st.lists(faults, max_size=6), st.lists(faults, max_size=6))
"""For each direction."""
