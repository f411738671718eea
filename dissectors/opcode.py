"""Opcodes of the Base Transport Header: the headers that follow, and what follows from those.

The table lists an opcode's name, value and headers (IBTA vol. 1, table 38; XRC: A14; CNP: A17.9;
FLUSH and ATOMIC WRITE: A19) and nothing else: request or response, place in its message, payload
or none are derived. The kernel (ib_pack.h) knows FLUSH for RC and RD and ATOMIC WRITE for RC; for
the same operations of the other reliable transports we have no second source.
"""

from __future__ import annotations

from enum import IntEnum

from dissectors.aeth import AETH
from dissectors.atomicacketh import AtomicAckETH
from dissectors.atomiceth import AtomicETH
from dissectors.bth import BTH
from dissectors.deth import DETH
from dissectors.feth import FETH
from dissectors.header import Header
from dissectors.ieth import IETH
from dissectors.immdt import ImmDt
from dissectors.rdeth import RDETH
from dissectors.reth import RETH
from dissectors.xrceth import XRCETH

Headers = tuple[type[Header], ...]

_UPPER = {"RC", "UC", "RD", "UD", "XRC", "CNP", "SEND", "RDMA", "WRITE", "READ", "ATOMIC", "FLUSH"}


def _spelled(word: str) -> str:
    """SEND_FIRST -> SEND First, as Wireshark writes it."""
    if word in _UPPER:
        return word
    return "with" if word == "WITH" else word.capitalize()


class Opcode(IntEnum):
    """An opcode; `headers` follow BTH, `size` is the bytes of BTH and them."""

    headers: Headers
    size: int
    text: str
    transport: str
    is_response: bool
    is_request: bool
    starts_message: bool
    ends_message: bool
    has_payload: bool

    def __new__(cls, value: int, headers: Headers) -> Opcode:
        member = int.__new__(cls, value)
        member._value_ = value
        member.headers = headers
        return member

    def __init__(self, value: int, headers: Headers) -> None:
        words = self.name.split("_")
        self.size = BTH.size + sum(header.size for header in headers)
        self.text = " ".join(_spelled(word) for word in words)
        self.transport = words[0]
        self.is_response = AETH in headers or "RESPONSE" in words
        self.is_request = not self.is_response and self.transport != "CNP"
        self.starts_message = not {"MIDDLE", "LAST", "CNP"} & set(words)
        self.ends_message = not {"FIRST", "MIDDLE", "CNP"} & set(words)
        self.has_payload = bool({"SEND", "WRITE", "RESPONSE"} & set(words))

    RC_SEND_FIRST = 0x00, ()
    RC_SEND_MIDDLE = 0x01, ()
    RC_SEND_LAST = 0x02, ()
    RC_SEND_LAST_WITH_IMMEDIATE = 0x03, (ImmDt,)
    RC_SEND_ONLY = 0x04, ()
    RC_SEND_ONLY_WITH_IMMEDIATE = 0x05, (ImmDt,)
    RC_RDMA_WRITE_FIRST = 0x06, (RETH,)
    RC_RDMA_WRITE_MIDDLE = 0x07, ()
    RC_RDMA_WRITE_LAST = 0x08, ()
    RC_RDMA_WRITE_LAST_WITH_IMMEDIATE = 0x09, (ImmDt,)
    RC_RDMA_WRITE_ONLY = 0x0A, (RETH,)
    RC_RDMA_WRITE_ONLY_WITH_IMMEDIATE = 0x0B, (RETH, ImmDt)
    RC_RDMA_READ_REQUEST = 0x0C, (RETH,)
    RC_RDMA_READ_RESPONSE_FIRST = 0x0D, (AETH,)
    RC_RDMA_READ_RESPONSE_MIDDLE = 0x0E, ()
    RC_RDMA_READ_RESPONSE_LAST = 0x0F, (AETH,)
    RC_RDMA_READ_RESPONSE_ONLY = 0x10, (AETH,)
    RC_ACKNOWLEDGE = 0x11, (AETH,)
    RC_ATOMIC_ACKNOWLEDGE = 0x12, (AETH, AtomicAckETH)
    RC_COMPARE_SWAP = 0x13, (AtomicETH,)
    RC_FETCH_ADD = 0x14, (AtomicETH,)
    RC_SEND_LAST_WITH_INVALIDATE = 0x16, (IETH,)
    RC_SEND_ONLY_WITH_INVALIDATE = 0x17, (IETH,)
    RC_FLUSH = 0x1C, (FETH, RETH)
    RC_ATOMIC_WRITE = 0x1D, (RETH,)
    UC_SEND_FIRST = 0x20, ()
    UC_SEND_MIDDLE = 0x21, ()
    UC_SEND_LAST = 0x22, ()
    UC_SEND_LAST_WITH_IMMEDIATE = 0x23, (ImmDt,)
    UC_SEND_ONLY = 0x24, ()
    UC_SEND_ONLY_WITH_IMMEDIATE = 0x25, (ImmDt,)
    UC_RDMA_WRITE_FIRST = 0x26, (RETH,)
    UC_RDMA_WRITE_MIDDLE = 0x27, ()
    UC_RDMA_WRITE_LAST = 0x28, ()
    UC_RDMA_WRITE_LAST_WITH_IMMEDIATE = 0x29, (ImmDt,)
    UC_RDMA_WRITE_ONLY = 0x2A, (RETH,)
    UC_RDMA_WRITE_ONLY_WITH_IMMEDIATE = 0x2B, (RETH, ImmDt)
    RD_SEND_FIRST = 0x40, (RDETH, DETH)
    RD_SEND_MIDDLE = 0x41, (RDETH, DETH)
    RD_SEND_LAST = 0x42, (RDETH, DETH)
    RD_SEND_LAST_WITH_IMMEDIATE = 0x43, (RDETH, DETH, ImmDt)
    RD_SEND_ONLY = 0x44, (RDETH, DETH)
    RD_SEND_ONLY_WITH_IMMEDIATE = 0x45, (RDETH, DETH, ImmDt)
    RD_RDMA_WRITE_FIRST = 0x46, (RDETH, DETH, RETH)
    RD_RDMA_WRITE_MIDDLE = 0x47, (RDETH, DETH)
    RD_RDMA_WRITE_LAST = 0x48, (RDETH, DETH)
    RD_RDMA_WRITE_LAST_WITH_IMMEDIATE = 0x49, (RDETH, DETH, ImmDt)
    RD_RDMA_WRITE_ONLY = 0x4A, (RDETH, DETH, RETH)
    RD_RDMA_WRITE_ONLY_WITH_IMMEDIATE = 0x4B, (RDETH, DETH, RETH, ImmDt)
    RD_RDMA_READ_REQUEST = 0x4C, (RDETH, DETH, RETH)
    RD_RDMA_READ_RESPONSE_FIRST = 0x4D, (RDETH, AETH)
    RD_RDMA_READ_RESPONSE_MIDDLE = 0x4E, (RDETH,)
    RD_RDMA_READ_RESPONSE_LAST = 0x4F, (RDETH, AETH)
    RD_RDMA_READ_RESPONSE_ONLY = 0x50, (RDETH, AETH)
    RD_ACKNOWLEDGE = 0x51, (RDETH, AETH)
    RD_ATOMIC_ACKNOWLEDGE = 0x52, (RDETH, AETH, AtomicAckETH)
    RD_COMPARE_SWAP = 0x53, (RDETH, DETH, AtomicETH)
    RD_FETCH_ADD = 0x54, (RDETH, DETH, AtomicETH)
    RD_RESYNC = 0x55, (RDETH, DETH)
    RD_FLUSH = 0x5C, (RDETH, DETH, FETH, RETH)
    RD_ATOMIC_WRITE = 0x5D, (RDETH, DETH, RETH)
    UD_SEND_ONLY = 0x64, (DETH,)
    UD_SEND_ONLY_WITH_IMMEDIATE = 0x65, (DETH, ImmDt)
    CNP = 0x81, ()
    XRC_SEND_FIRST = 0xA0, (XRCETH,)
    XRC_SEND_MIDDLE = 0xA1, (XRCETH,)
    XRC_SEND_LAST = 0xA2, (XRCETH,)
    XRC_SEND_LAST_WITH_IMMEDIATE = 0xA3, (XRCETH, ImmDt)
    XRC_SEND_ONLY = 0xA4, (XRCETH,)
    XRC_SEND_ONLY_WITH_IMMEDIATE = 0xA5, (XRCETH, ImmDt)
    XRC_RDMA_WRITE_FIRST = 0xA6, (XRCETH, RETH)
    XRC_RDMA_WRITE_MIDDLE = 0xA7, (XRCETH,)
    XRC_RDMA_WRITE_LAST = 0xA8, (XRCETH,)
    XRC_RDMA_WRITE_LAST_WITH_IMMEDIATE = 0xA9, (XRCETH, ImmDt)
    XRC_RDMA_WRITE_ONLY = 0xAA, (XRCETH, RETH)
    XRC_RDMA_WRITE_ONLY_WITH_IMMEDIATE = 0xAB, (XRCETH, RETH, ImmDt)
    XRC_RDMA_READ_REQUEST = 0xAC, (XRCETH, RETH)
    XRC_RDMA_READ_RESPONSE_FIRST = 0xAD, (AETH,)
    XRC_RDMA_READ_RESPONSE_MIDDLE = 0xAE, ()
    XRC_RDMA_READ_RESPONSE_LAST = 0xAF, (AETH,)
    XRC_RDMA_READ_RESPONSE_ONLY = 0xB0, (AETH,)
    XRC_ACKNOWLEDGE = 0xB1, (AETH,)
    XRC_ATOMIC_ACKNOWLEDGE = 0xB2, (AETH, AtomicAckETH)
    XRC_COMPARE_SWAP = 0xB3, (XRCETH, AtomicETH)
    XRC_FETCH_ADD = 0xB4, (XRCETH, AtomicETH)
    XRC_SEND_LAST_WITH_INVALIDATE = 0xB6, (XRCETH, IETH)
    XRC_SEND_ONLY_WITH_INVALIDATE = 0xB7, (XRCETH, IETH)
    XRC_FLUSH = 0xBC, (XRCETH, FETH, RETH)
    XRC_ATOMIC_WRITE = 0xBD, (XRCETH, RETH)


_MEMBERS = {member.value: member for member in Opcode}
BY_VALUE: tuple[Opcode | None, ...] = tuple(_MEMBERS.get(value) for value in range(256))
"""Opcode byte -> Opcode, None where the standard assigns none."""


def name(value: int) -> str:
    """`RC SEND Only`, or `opcode 0xff` where none is assigned."""
    opcode = BY_VALUE[value]
    return opcode.text if opcode is not None else f"opcode 0x{value:02x}"
