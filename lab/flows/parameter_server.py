"""Training with a parameter server: many workers, one set of weights."""

from __future__ import annotations

import struct

from lab.flows.end import End
from lab.flows.flow import documented
from lab.flows.read import fetch
from lab.flows.write import store


def run(end: End) -> None:
    """Each round every worker WRITEs its gradients, then READs the new weights.

    Arguments: `rounds`, `weights` (64-bit numbers). With `--clients N` there are N workers.

    Teaches: one-sided requests: the server's program moves no data, it adds numbers up in its own
    memory. Nobody may read before all have written, and that is not the network's doing: the
    program must wait.

    On the wire: from each worker a WRITE, after a pause a READ REQUEST; READ RESPONSEs back. No
    SEND at all.

    Look at: requests of all workers come close together, separated by their queue pairs alone;
    the server never sends a request of its own.
    """
    form = struct.Struct(f"<{end.arguments['weights']}q")
    workers, weights = range(end.group.parties), [0] * end.arguments["weights"]
    for number in range(end.arguments["rounds"]):
        if end.role == "client":
            store(end, form.pack(*_gradients(end.connection, number, form)))
        end.barrier(f"round {number} written")
        if end.role == "server":
            gradients = form.unpack(end.mr.read(form.size, end.layout.incoming))
            end.put(end.layout.outgoing, form.pack(*_added(end, gradients)))
        end.barrier(f"round {number} added")
        if end.role == "client":
            for worker in workers:
                weights = _sum(weights, _gradients(worker, number, form))
            end.same(f"weights after round {number}", fetch(end, form.size), form.pack(*weights))


def _gradients(worker: int, number: int, form: struct.Struct) -> list[int]:
    """What a worker finds in a round: any numbers, the same wherever they are computed."""
    return [(worker + 1) * (number + 1) + index for index in range(form.size // 8)]


def _sum(one: list[int], other: list[int] | tuple[int, ...]) -> list[int]:
    return [a + b for a, b in zip(one, other, strict=True)]


def _added(end: End, gradients: tuple[int, ...]) -> list[int]:
    """The weights once every worker's gradients are in them."""
    group = end.group
    with group.lock:
        group.shared["weights"] = _sum(group.shared.get("weights", [0] * len(gradients)), gradients)
    end.meet()
    weights: list[int] = group.shared["weights"]
    end.meet()  # all have taken the weights before anybody adds to them again
    return weights


FLOW = documented(
    "parameter-server",
    run,
    room=lambda arguments: 8 * arguments["weights"],
    arguments={"rounds": 3, "weights": 1024},
)
