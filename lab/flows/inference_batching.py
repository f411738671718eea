"""Inference requests answered in batches."""

from __future__ import annotations

from lab.flows.end import End
from lab.flows.flow import documented
from lab.flows.write_imm import post_write_imm, wake

INVERT = bytes(255 - byte for byte in range(256))  # the "model"


def prepare(end: End) -> None:
    """The server expects a batch of requests, the client one answer."""
    for _ in range(end.arguments["batch"] if end.role == "server" else 1):
        end.post_receive(0)


def run(end: End) -> None:
    """Many small requests, one answer for each batch. Arguments: `batches`, `batch`, `size`.

    Teaches: requests are written into slots of the server's memory, each with an immediate naming
    its slot; the server answers a whole batch with one WRITE_WITH_IMM. The more requests an answer
    covers, the fewer packets and completions each costs, and the longer the first one waits.

    On the wire: `batch` WRITE_ONLY_WITH_IMMEDIATE from the client, then one WRITE_WITH_IMM of
    many packets from the server.

    Look at: the requests go out without waiting for acknowledgements, which may cover several.
    """
    batch, size = end.arguments["batch"], end.arguments["size"]
    for number in range(end.arguments["batches"]):
        data = end.pattern("requests", batch * size)
        if end.role == "client":
            end.put(end.layout.outgoing, data)
            slots = [post_write_imm(end, slot * size, size, slot) for slot in range(batch)]
            for wr_id in slots:
                end.complete(wr_id)
            end.same("answer's number", wake(end).to_bytes(4), number.to_bytes(4))
            end.post_receive(0)
            end.check("answers", end.layout.incoming, data.translate(INVERT))
        else:
            slots = [wake(end) for _ in range(batch)]
            end.same("slots", bytes(slot & 0xFF for slot in slots), bytes(range(batch)))
            requests = end.mr.read(batch * size, end.layout.incoming)
            end.put(end.layout.outgoing, requests.translate(INVERT))
            for _ in range(batch):
                end.post_receive(0)
            end.complete(post_write_imm(end, 0, batch * size, number))
    end.barrier("answered")


FLOW = documented(
    "inference-batching",
    run,
    prepare=prepare,
    room=lambda arguments: arguments["batch"] * arguments["size"],
    arguments={"batches": 4, "batch": 8, "size": 512},
)
