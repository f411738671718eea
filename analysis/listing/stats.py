"""Counts over a whole capture: hierarchy, conversations, opcodes, ICRC, damage."""

from __future__ import annotations

from typing import Any

import numpy as np

from captures.capture import Capture
from dissectors import opcode
from dissectors.bth import BTH
from dissectors.damage import DamageCode
from dissectors.icrc import ICRC_BAD, ICRC_OK, ICRC_UNCHECKABLE
from dissectors.rules import HEADERS
from dissectors.table import PacketTable

MOST_CONVERSATIONS = 100
"""Conversations listed; the busiest come first."""


def counts(capture: Capture, table: PacketTable) -> dict[str, Any]:
    """The document of `decode --stats --json`."""
    roce = table.has(BTH)
    status = np.bincount(table["icrc_status"], minlength=4)
    return {
        "schema": 1,
        "capture": {
            "packets": len(table),
            "roce_packets": int(roce.sum()),
            "icrc_ok": int(status[ICRC_OK]),
            "icrc_bad": int(status[ICRC_BAD]),
            "icrc_unchecked": int(status[ICRC_UNCHECKABLE]),
        },
        "opcodes": _opcodes(table["bth_opcode"][roce]),
        "hierarchy": _hierarchy(table["headers"]),
        "conversations": _conversations(table.select(roce)),
        "damage": {
            "file": [str(each) for each in capture.damage],
            "frames": _damage(table),
        },
    }


def _opcodes(values: Any) -> dict[str, int]:
    found, number = np.unique(values, return_counts=True)
    return {opcode.name(int(value)): int(n) for value, n in zip(found, number, strict=True)}


def _hierarchy(masks: Any) -> list[dict[str, Any]]:
    """How often which headers come together, most often first."""
    found, number = np.unique(masks, return_counts=True)
    rows = sorted(zip(number.tolist(), found.tolist(), strict=True), reverse=True)
    return [
        {
            "headers": [kind.__name__ for n, kind in enumerate(HEADERS) if mask >> n & 1],
            "packets": count,
        }
        for count, mask in rows
    ]


def _conversations(roce: PacketTable) -> list[dict[str, Any]]:
    """Packets and payload bytes by source, destination and destination queue pair."""
    keys = np.empty(len(roce), [("src", "V16"), ("dst", "V16"), ("qp", "u4")])
    keys["src"], keys["dst"], keys["qp"] = roce["src"], roce["dst"], roce["bth_dest_qp"]
    raw = keys.view("V36")
    _, first, inverse = np.unique(raw, return_index=True, return_inverse=True)
    packets = np.bincount(inverse, minlength=len(first))
    payload = np.bincount(inverse, roce["payload_length"], minlength=len(first))
    return [
        {
            "source": roce.source(int(first[n])),
            "destination": roce.destination(int(first[n])),
            "dest_qp": int(roce["bth_dest_qp"][first[n]]),
            "packets": int(packets[n]),
            "payload_bytes": int(payload[n]),
        }
        for n in np.argsort(-packets, kind="stable")[:MOST_CONVERSATIONS]
    ]


def _damage(table: PacketTable) -> dict[str, int]:
    number = np.bincount(table["damage"], minlength=len(DamageCode))
    return {code.name.lower(): int(number[code]) for code in DamageCode if code and number[code]}


def text(document: dict[str, Any]) -> str:
    """The same for people."""
    capture = document["capture"]
    lines = [
        f"{capture['packets']} packets, {capture['roce_packets']} of them RoCE",
        f"ICRC: {capture['icrc_ok']} right, {capture['icrc_bad']} wrong, "
        f"{capture['icrc_unchecked']} not checkable",
        *_section("headers", [(" / ".join(row["headers"]) or "unknown", row["packets"])
                              for row in document["hierarchy"]]),
        *_section("opcodes", list(document["opcodes"].items())),
        *_section("conversations", [
            (f"{row['source']} > {row['destination']} QP {row['dest_qp']:#x}", row["packets"])
            for row in document["conversations"]
        ]),
    ]  # fmt: skip
    lines += [f"damage in the file {each}" for each in document["damage"]["file"]]
    lines += [f"damaged frames: {n} {code}" for code, n in document["damage"]["frames"].items()]
    return "\n".join(lines)


def _section(title: str, rows: list[tuple[str, int]]) -> list[str]:
    return ["", title, *(f"  {count:9}  {name}" for name, count in rows)] if rows else []
