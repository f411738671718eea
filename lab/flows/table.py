"""All flows by name."""

from __future__ import annotations

from lab.flows import (
    bulk,
    connect_only,
    counting,
    errors,
    inference_batching,
    mr_cache,
    other_services,
    parameter_server,
    pingpong,
    rendezvous,
    secure_flow,
)
from lab.flows.flow import Flow

FLOWS: dict[str, Flow] = {
    flow.name: flow
    for flow in (
        secure_flow.FLOW,
        connect_only.FLOW,
        pingpong.FLOW,
        counting.FLOW,
        rendezvous.FLOW,
        parameter_server.FLOW,
        inference_batching.FLOW,
        bulk.FLOW,
        mr_cache.FLOW,
        *other_services.FLOWS,
        *errors.FLOWS,
    )
}
