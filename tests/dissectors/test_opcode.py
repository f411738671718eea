"""The opcode table against tshark's, scapy's and the kernel's spelling."""

from __future__ import annotations

import subprocess
from functools import cache

import pytest

from dissectors import opcode
from dissectors.aeth import AETH
from dissectors.bth import BTH
from dissectors.opcode import BY_VALUE, Opcode
from dissectors.reth import RETH
from tests.requires import tool


@cache
def tshark_values_of_all() -> list[list[str]]:
    tool("tshark")
    done = subprocess.run(["tshark", "-G", "values"], capture_output=True, text=True, check=True)
    return [line.split("\t") for line in done.stdout.splitlines() if "infiniband" in line]


def tshark_values(field: str) -> dict[int, str]:
    rows = tshark_values_of_all()
    return {int(row[2], 0): row[3] for row in rows if row[0] == "V" and row[1] == field}


TSHARK_ERRORS = {
    0x80: "tshark 4.0 puts CNP at 128; the packet is opcode 0x81 (IBTA vol. 1, A17.9.3)",
    0x81: "see 0x80",
    0x15: "tshark names RC 0x15 'Reserved': not assigned",
    0x1C: "RC FLUSH, newer than tshark 4.0",
    0x1D: "RC ATOMIC WRITE, newer than tshark 4.0",
    0x5C: "RD FLUSH, newer than tshark 4.0",
    0x5D: "RD ATOMIC WRITE, newer than tshark 4.0",
    0xBC: "XRC FLUSH, newer than tshark 4.0",
    0xBD: "XRC ATOMIC WRITE, newer than tshark 4.0",
}


def test_names_are_those_of_tshark() -> None:
    theirs = tshark_values("infiniband.bth.opcode")
    for value in range(256):
        if value in TSHARK_ERRORS:
            continue
        known = BY_VALUE[value]
        assert (known is None) == (value not in theirs), hex(value)
        if known is not None:
            spelled = theirs[value].split("(")[1].replace(") -", "")
            spelled = spelled.replace("CmpSwap", "Compare Swap").replace("FetchAdd", "Fetch Add")
            assert known.text.lower() == spelled.lower()


def test_names_are_those_of_scapy() -> None:
    from scapy.contrib.roce import _bth_opcodes

    for value, name in _bth_opcodes.items():
        assert BY_VALUE[value] is Opcode[name]


@pytest.mark.parametrize(
    ("name", "size", "starts", "ends", "response", "payload"),
    [
        # sizes: kernel drivers/infiniband/sw/rxe/rxe_opcode.c, .length
        ("RC_SEND_FIRST", 12, True, False, False, True),
        ("RC_SEND_ONLY_WITH_INVALIDATE", 16, True, True, False, True),
        ("RC_RDMA_WRITE_ONLY_WITH_IMMEDIATE", 32, True, True, False, True),
        ("RC_RDMA_WRITE_LAST_WITH_IMMEDIATE", 16, False, True, False, True),
        ("RC_RDMA_READ_REQUEST", 28, True, True, False, False),
        ("RC_RDMA_READ_RESPONSE_MIDDLE", 12, False, False, True, True),
        ("RC_RDMA_READ_RESPONSE_ONLY", 16, True, True, True, True),
        ("RC_ACKNOWLEDGE", 16, True, True, True, False),
        ("RC_ATOMIC_ACKNOWLEDGE", 24, True, True, True, False),
        ("RC_COMPARE_SWAP", 40, True, True, False, False),
        ("RC_FLUSH", 32, True, True, False, False),
        ("RC_ATOMIC_WRITE", 28, True, True, False, True),
        ("UD_SEND_ONLY_WITH_IMMEDIATE", 24, True, True, False, True),
        ("RD_RDMA_READ_REQUEST", 40, True, True, False, False),
        ("RD_ACKNOWLEDGE", 20, True, True, True, False),
        ("XRC_RDMA_WRITE_FIRST", 32, True, False, False, True),
    ],
)
def test_what_follows_from_the_headers(
    name: str, size: int, starts: bool, ends: bool, response: bool, payload: bool
) -> None:
    row = Opcode[name]
    found = (row.size, row.starts_message, row.ends_message, row.is_response, row.has_payload)
    assert found == (size, starts, ends, response, payload)
    assert row.is_request != row.is_response


def test_reth_only_where_a_message_starts_and_aeth_only_in_responses() -> None:
    for row in Opcode:
        assert RETH not in row.headers or row.starts_message
        assert AETH not in row.headers or row.is_response
        assert row.size >= BTH.size


def test_an_unassigned_opcode_has_a_name() -> None:
    assert opcode.name(0xFF) == "opcode 0xff"
    assert opcode.name(0x81) == "CNP"
