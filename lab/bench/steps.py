"""What is measured, in this order, and what it is to reach."""

from __future__ import annotations

from lab.bench import raw, verbs
from lab.bench.bench import Measurement
from lab.bench.loss import loss
from lab.bench.row import Goal
from lab.bench.setup import setup

# Name (for --only) -> (measurement, the ids of its rows).
STEPS: dict[str, Measurement] = {
    "udp-trains": raw.udp_trains,
    "udp-rounds": raw.udp_rounds,
    "tcp": raw.tcp,
    "write-64kib-4096": verbs.one_sided("WRITE", 1 << 16, 4096),
    "write-1mib-4096": verbs.one_sided("WRITE", 1 << 20, 4096),
    "write-64kib-1024": verbs.one_sided("WRITE", 1 << 16, 1024),
    "write-1mib-1024": verbs.one_sided("WRITE", 1 << 20, 1024),
    "read-64kib-4096": verbs.one_sided("READ", 1 << 16, 4096),
    "send-64kib-4096": verbs.send,
    "send-rounds": verbs.round_trips,
    "write-64b": verbs.message_rate,
    "write-1000": verbs.many(1000),
    "setup": setup,
    "loss-0.1": loss(0.001),
    "loss-1": loss(0.01),
    "loss-5": loss(0.05),
}

_BULK = (Goal("gbit_s", 10), Goal("gbit_s", 0.2, "udp-trains"))
_SMALLER = (Goal("gbit_s", 4),)
_LIKE_WRITE = (Goal("gbit_s", 0.7, "write-64kib-4096"),)

# By row.
GOALS: dict[str, tuple[Goal, ...]] = {
    "write-64kib-4096": _BULK,
    "write-1mib-4096": _BULK,
    "write-64kib-1024": _SMALLER,
    "write-1mib-1024": _SMALLER,
    "read-64kib-4096": _LIKE_WRITE,
    "send-64kib-4096": _LIKE_WRITE,
    "send-rounds": (
        Goal("median_us", 18, most=True),
        Goal("median_us", 3, "udp-rounds", most=True),
    ),
    "write-64b": (Goal("messages_s", 250_000),),
    "write-1000": (*_LIKE_WRITE, Goal("kib_per_connection", 64, most=True)),
    "setup": (Goal("connections_s", 300),),
}
