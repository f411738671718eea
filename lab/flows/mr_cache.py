"""What registering memory costs."""

from __future__ import annotations

import time
from typing import Any

from lab.flows.end import End
from lab.flows.flow import documented


def run(end: End) -> None:
    """WRITEs from a buffer registered anew each time, then from one registered once.

    Arguments: `messages`, `size`.

    Teaches: registering pins pages and tells the adapter where they are: it can cost more than the
    transfer. Libraries keep regions in a cache.

    On the wire: the same WRITEs twice: registration is a matter of the sender's own.

    Look at: the two `measured` events of the client.
    """
    messages, size = end.arguments["messages"], end.arguments["size"]
    data = end.pattern("cached", size)
    if end.role == "client":
        started = time.perf_counter_ns()
        for _ in range(messages):
            with _registered(end, data) as region:
                _write(end, region, size)
        end.measured("registered each time", messages * size, started)
        with _registered(end, data) as region:
            started = time.perf_counter_ns()
            for _ in range(messages):
                _write(end, region, size)
            end.measured("registered once", messages * size, started)
    end.barrier("written")
    if end.role == "server":
        end.check("RDMA WRITE", end.layout.incoming, data)


def _registered(end: End, data: bytes) -> Any:
    region = end.verbs.MR(end.pd, len(data), end.verbs.IBV_ACCESS_LOCAL_WRITE)
    region.write(data, len(data))
    return region


def _write(end: End, region: Any, size: int) -> None:
    verbs = end.verbs
    sge = verbs.SGE(region.buf, size, region.lkey)
    wr = verbs.SendWR(opcode=verbs.IBV_WR_RDMA_WRITE, num_sge=1, sg=[sge])
    wr.set_wr_rdma(end.remote.r_key, end.remote.addr + end.layout.incoming)
    end.complete(end.post(wr, size))


FLOW = documented(
    "mr-cache",
    run,
    room=lambda arguments: arguments["size"],
    arguments={"messages": 50, "size": 65536},
)
