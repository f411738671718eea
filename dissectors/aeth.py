"""ACK Extended Transport Header and its syndrome."""

from __future__ import annotations

from dataclasses import dataclass

from dissectors.header import Field, Header

ACK = 0x00
RNR_NAK = 0x20
RESERVED = 0x40
NAK = 0x60
"""Syndrome bits 6:5 (IBTA vol. 1, table 46)."""

KIND_MASK = 0x60
VALUE_MASK = 0x1F
CREDITS_UNLIMITED = 0x1F

NAK_PSN_SEQUENCE_ERROR = 0x60
NAK_INVALID_REQUEST = 0x61
NAK_REMOTE_ACCESS_ERROR = 0x62
NAK_REMOTE_OPERATIONAL_ERROR = 0x63
NAK_INVALID_RD_REQUEST = 0x64

NAK_NAMES = {
    NAK_PSN_SEQUENCE_ERROR: "PSN sequence error",
    NAK_INVALID_REQUEST: "invalid request",
    NAK_REMOTE_ACCESS_ERROR: "remote access error",
    NAK_REMOTE_OPERATIONAL_ERROR: "remote operational error",
    NAK_INVALID_RD_REQUEST: "invalid RD request",
}
"""IBTA vol. 1, table 47."""

RNR_TIMER_NS = tuple(
    10_000 * hundredths
    for hundredths in (
        *(65536, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192),
        *(256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144),
        *(8192, 12288, 16384, 24576, 32768, 49152),
    )
)
"""RNR NAK timer code -> nanoseconds (IBTA vol. 1, table 48); code 0 is the longest, 655.36 ms."""

CREDITS = (
    *(0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192),
    *(256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144),
    *(8192, 12288, 16384, 24576, 32768),
)
"""Credit code 0 to 30 -> receives the responder has left (IBTA vol. 1, table 45); 31 is no
limit.
"""


@dataclass(frozen=True, slots=True)
class Syndrome:
    """A decoded AETH syndrome: `kind` is ack, rnr, nak or reserved, `value` its low five bits."""

    kind: str
    value: int
    text: str


def decode(syndrome: int) -> Syndrome:
    """What an 8-bit AETH syndrome says; every value decodes, reserved ones say so."""
    value = syndrome & VALUE_MASK
    if syndrome & 0x80:
        return Syndrome("reserved", value, f"reserved 0x{syndrome:02x}")
    kind = syndrome & KIND_MASK
    if kind == ACK:
        unlimited = value == CREDITS_UNLIMITED
        left = "no credit limit" if unlimited else f"{CREDITS[value]} credits"
        return Syndrome("ack", value, f"ACK, {left}")
    if kind == RNR_NAK:
        milliseconds = f"{RNR_TIMER_NS[value] / 1e6:.2f} ms"
        return Syndrome("rnr", value, f"RNR NAK, timer {milliseconds}")
    if kind == NAK:
        name = NAK_NAMES.get(syndrome, f"reserved code {value}")
        return Syndrome("nak", value, f"NAK, {name}")
    return Syndrome("reserved", value, f"reserved 0x{syndrome:02x}")


class AETH(Header):
    """ACK Extended Transport Header (IBTA vol. 1, 9.3.5)."""

    syndrome = Field(
        8,
        "ACK with credits, RNR NAK with timer, or NAK with its cause",
        text=lambda value: f"0x{value:02x} ({decode(value).text})",
        tshark="infiniband.aeth.syndrome",
    )
    msn = Field(24, "message sequence number", tshark="infiniband.aeth.msn")
