"""Trees read like Wireshark's: the same bit patterns, and its words for what they mean."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest

from dissectors.bth import BTH
from dissectors.opcode import Opcode
from dissectors.packet import Packet
from tests.dissectors import matrix
from tests.dissectors.samples import SAMPLES, frames
from tests.requires import tool


def sample(name: str, wanted: Callable[[Packet], bool]) -> tuple[int, Packet]:
    """Number and packet of the first frame of a sample that is `wanted`."""
    packets = ((n, Packet.parse(frame)) for n, _, frame in frames(SAMPLES / f"{name}.pcap"))
    return next((n, packet) for n, packet in packets if BTH in packet and wanted(packet))


def patterns(text: str, beginning: str) -> list[str]:
    """The bit patterns of bytes from the line on that begins so."""
    lines = text.splitlines()
    start = next(
        n for n, line in enumerate(lines) if line.lstrip(" 0123456789").startswith(beginning)
    )
    found = (re.search(r"(?<![\w.])([01.]{4} [01.]{4})(?= [ =])", line) for line in lines[start:])
    return [match[1] for match in found if match]


@pytest.mark.parametrize(
    ("name", "opcode"),
    [
        ("rxe61_pyverbs_rc", Opcode.RC_RDMA_WRITE_ONLY_WITH_IMMEDIATE),
        ("rxe61_pyverbs_rc", Opcode.RC_RDMA_READ_RESPONSE_FIRST),
        ("rxe61_pyverbs_rc", Opcode.RC_COMPARE_SWAP),
    ],
)
def test_bits_are_drawn_as_wireshark_does(name: str, opcode: Opcode) -> None:
    tool("tshark")
    number, packet = sample(name, lambda p: p[BTH].opcode == opcode)
    command = ["tshark", "-n", "-V", "-r", str(SAMPLES / f"{name}.pcap"), "-Y",
               f"frame.number=={number}"]  # fmt: skip
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    theirs = patterns(said, "Base Transport Header")
    ours = patterns(packet.tree(), "BTH:")
    # Wireshark shows neither FECN and BECN nor the six bits beside them.
    assert [ours[n] for n in range(len(ours)) if n not in (4, 5, 6)][:6] == theirs[:6]


def test_words() -> None:
    _, request = sample("rxe61_cm_rping", lambda p: "CM REQ" in str(p))
    tree = request.tree()
    assert re.search(r"starting_psn = 0x90d98c \(9492876\)  +PSN of the first request", tree)
    assert re.search(r"IP_CM: IP addressing.*\(.*cma\.c\)", tree)
    assert re.search(r" src = 10\.77\.0\.2 ", tree)
    _, answer = sample("rxe61_err_rnr", lambda p: p[BTH].opcode == Opcode.RC_ACKNOWLEDGE)
    assert "syndrome = 0x2e (RNR NAK, timer 1.28 ms)" in answer.tree()


def test_a_congestion_notification() -> None:
    made = matrix.roce(Opcode.CNP, matrix.CARRIERS["ipv4"][1])
    headers = tuple(h.replace(becn=1) if isinstance(h, BTH) else h for h in made.headers)
    tree = Packet.parse(Packet(headers, bytes(16)).build()).tree()
    assert "opcode = 0x81 (CNP)" in tree
    assert re.search(r"\.1\.\. \.\.\.\.  becn = 1  +backward explicit congestion", tree)
    assert re.search(r"correct$", tree)


def test_a_wrong_icrc_says_what_it_should_be() -> None:
    frame = bytearray(matrix.roce(Opcode.RC_SEND_ONLY, matrix.CARRIERS["ipv4"][1]).build())
    right = int.from_bytes(frame[-4:], "little")
    frame[-4:] = bytes(4)
    assert f"ICRC 0x00000000 WRONG, expected 0x{right:08x}" in Packet.parse(bytes(frame)).tree()


def test_a_port_of_the_users() -> None:
    """RoCEv2 on a second port: read there, ICRC and all, and on 4791 as well."""
    _, (ethernet, network, udp), _ = matrix.CARRIERS["ipv4"]
    frame = matrix.roce(
        Opcode.RC_SEND_ONLY, (ethernet, network, udp.replace(dst_port=5000))
    ).build()
    packet = Packet.parse(frame, roce_port=5000)
    assert packet.icrc_status == 1
    assert packet.build() == frame
    assert BTH not in Packet.parse(frame)
    usual = matrix.roce(Opcode.RC_SEND_ONLY, (ethernet, network, udp)).build()
    assert packet[BTH] == Packet.parse(usual)[BTH]
    assert BTH in Packet.parse(usual, roce_port=5000), "4791 stays RoCE's"


GENERATED = dict(matrix.by_link_type()[1])
READS_AS = {
    "ipv4 RC_RDMA_WRITE_FIRST": (
        "opcode = 0x06 (RC RDMA WRITE First)", "RETH: RDMA Extended Transport Header",
        "va = 0x", "r_key = 0x", "dma_len = ", "payload: ", "ICRC 0x",
    ),
    "ipv4 RC_RDMA_READ_RESPONSE_FIRST": (
        "opcode = 0x0d (RC RDMA READ Response First)", "AETH: ACK Extended", "syndrome = 0x",
        "msn = ", "payload: ", "ICRC 0x",
    ),
    "ipv4 RC_COMPARE_SWAP": (
        "opcode = 0x13 (RC Compare Swap)", "AtomicETH: ", "va = 0x", "r_key = 0x", "swap_add = ",
        "compare = ", "ICRC 0x",
    ),
    "ipv4 CNP": ("ecn = 1 (ECT(1))", "opcode = 0x81 (CNP)", "fecn = 0", "becn = 0", "ICRC 0x"),
    "roce-v1 RC_RDMA_WRITE_FIRST": (
        "type = 0x8915 (GRH)", "GRH: Global Route Header", "next_header = 27 (BTH)",
        "sgid = fe80::1", "dgid = fe80::2", "BTH: Base Transport Header", "RETH: ", "ICRC 0x",
    ),
    "CM_REQ": (
        "DETH: ", "q_key = 0x80010000", "MAD: ", "mgmt_class = 7 (communication management)",
        "attribute_id = 0x0010", "CM_REQ: CM connect request", "local_qpn = 0x",
        "starting_psn = 0x",
        "retry_count = ", "path_mtu = ", "ICRC 0x",
    ),
}  # fmt: skip
"""Frame of the matrix -> what its tree says, in this order."""


@pytest.mark.parametrize("name", READS_AS)
def test_what_people_look_for_stands_in_the_tree(name: str) -> None:
    tree = Packet.parse(GENERATED[name]).tree()
    places = [tree.find(said) for said in READS_AS[name]]
    assert -1 not in places, READS_AS[name][places.index(-1)]
    assert places == sorted(places)
    assert tree.endswith("correct")


def test_long_things_are_shown_from_their_beginning() -> None:
    _, request = sample("rxe61_cm_rping", lambda p: "CM REQ" in str(p))
    tree = request.tree()
    assert "service_id = 0x0000000001061c06 (TCP port 7174)" in tree
    assert re.search(r"private_data = 0040bc2b[0-9a-f]{24}\.\.\.  the consumer's", tree)
    assert "payload:" not in tree, "a management datagram is shown field by field"
    _, write = sample("rxe61_pyverbs_rc", lambda p: p[BTH].opcode == Opcode.RC_RDMA_WRITE_FIRST)
    assert re.search(r"payload: 1024 bytes  68 65 6c 6c 6f [0-9a-f ]+  hello from real  \.\.\.",
                     write.tree())  # fmt: skip


def test_a_line_says_what_an_atomic_works_with() -> None:
    _, add = sample("rxe61_pyverbs_rc", lambda p: p[BTH].opcode == Opcode.RC_FETCH_ADD)
    _, swap = sample("rxe61_pyverbs_rc", lambda p: p[BTH].opcode == Opcode.RC_COMPARE_SWAP)
    assert str(add).endswith("R_Key 0x213, add 7")
    assert str(swap).endswith("R_Key 0x213, swap in 4242 for 1007")
