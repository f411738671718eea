"""Every field that both tshark and we know, of every sample and of the generated matrix."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from dissectors.atomiceth import AtomicETH
from dissectors.cm import IP_CM, MESSAGES
from dissectors.header import Header
from dissectors.ip import IPv6
from dissectors.mad import MAD
from dissectors.opcode import Opcode
from dissectors.packet import Packet
from dissectors.sa import RMPP, SA, PathRecord
from dissectors.table import HEADERS
from tests.dissectors import matrix, tshark
from tests.dissectors.samples import FILES, frames

KINDS = (*HEADERS, MAD, *MESSAGES.values(), IP_CM, RMPP, SA, PathRecord)

EXTENDED = r"infiniband\.(rdeth|deth|reth|aeth|atomiceth|atomicacketh|immdt|ieth)(\..*)?"
REQ = r"infiniband\.cm\.req\."
# Errors and habits of tshark 4.0: field, frame, reason.
TSHARK_ERRORS = (
    (EXTENDED, r".* RD_.*", "reads what follows BTH 8 bytes too far, of an ACK no RDETH"),
    (EXTENDED, r".* XRC_.*", "does not read what follows BTH"),
    (EXTENDED, r".*_(FLUSH|ATOMIC_WRITE)", "does not know the opcodes of release 1.5"),
    (r"vlan\..*", r"qinq .*", "names the outer tag's fields ieee8021ad"),
    (REQ + r"(prim|alt)_(flowlabel|pktrate|reserved0)", r".*", "masks them wrongly (cm_msgs.h)"),
    (REQ + r"alt_reserved1", r".*", "gives the name to two fields"),
    (REQ + r"(prim|alt)_(local|remote)gid", r".*", "names them otherwise over RoCE"),
    (REQ + r"private", r".*", "shows the IP addresses in its stead"),
    (REQ + r"ip_cm\.[sd]ip6", r".*", "names IPv4 addresses otherwise"),
    (REQ + r"ip_cm\..*", r"rxe61_cm_udaddy .*|CM_SIDR_REQ", "not read in SIDR_REQ"),
)
TWICE = ("infiniband.immdt", "infiniband.ieth")
"""Names that tshark gives both the header and its only field."""
ALSO = {
    AtomicETH.va: "infiniband.reth.va",
    AtomicETH.r_key: "infiniband.reth.r_key",
    IPv6.version: "ip.version",
}
"""Fields that tshark shows under the name of another."""
UNSUPPORTED = 247
"""Native InfiniBand: this tshark reads it only in ERF."""


def ours(packet: Packet, names: list[str]) -> dict[str, list[int]]:
    """Field name -> values, in tshark's shape."""
    found: dict[str, list[int]] = {name: [] for name in names}
    headers = (*packet.headers, *(header for _, header in packet.management))
    for header in headers:
        for field, value in zip(header.fields, header, strict=True):
            plain = int.from_bytes(value) if isinstance(value, bytes) else value
            for name in {field.tshark, ALSO.get(field, "")} & found.keys():
                found[name] += [plain] * (2 if name in TWICE else 1)
    return found


def differences(path: Path, packets: list[tuple[str, Packet]]) -> list[str]:
    """Every value in which tshark and we differ, errors of tshark's left out."""
    names = sorted({field.tshark for field in tshark.all_fields(KINDS)})
    theirs = tshark.values(path, names)
    assert len(theirs) == len(packets)
    return [
        f"{what}: {name} tshark {said[name]}, ours {own[name]}"
        for (what, packet), said in zip(packets, theirs, strict=True)
        for own in [ours(packet, names)]
        for name in names
        if said[name] != own[name] and not excused(name, what)
    ]


def excused(name: str, what: str) -> bool:
    return any(
        re.fullmatch(field, name) and re.fullmatch(frame, what) for field, frame, _ in TSHARK_ERRORS
    )


def test_samples(tmp_path: Path) -> None:
    # In one file, because starting tshark takes longer than reading them all.
    known = [
        (f"{path.stem} {number}", frame, Packet.parse(frame, original_length=length))
        for path in FILES
        for number, length, frame in frames(path)
    ]
    path = tmp_path / "samples.pcap"
    tshark.write_pcap(path, 1, (frame for _, frame, _ in known))
    assert differences(path, [(what, packet) for what, _, packet in known]) == []


@pytest.mark.parametrize("link_type", sorted(matrix.by_link_type().keys() - {UNSUPPORTED}))
def test_matrix(link_type: int, tmp_path: Path) -> None:
    generated = matrix.by_link_type()[link_type]
    path = tmp_path / "matrix.pcap"
    tshark.write_pcap(path, link_type, (frame for _, frame in generated))
    packets = [(what, Packet.parse(frame, link_type)) for what, frame in generated]
    assert differences(path, packets) == []


def test_the_names_we_give_are_tsharks() -> None:
    declared = {field.tshark for kind in KINDS for field in kind.fields if field.tshark}
    assert declared - tshark.known_names() == set()


def test_the_matrix_holds_every_opcode_and_header() -> None:
    found: Counter[type[Header]] = Counter()
    for link_type, generated in matrix.by_link_type().items():
        for _, frame in generated:
            packet = Packet.parse(frame, link_type)
            found.update(type(header) for header in packet.headers)
            found.update(type(header) for _, header in packet.management)
    absent = {kind.__name__ for kind in KINDS} - {kind.__name__ for kind in found}
    assert absent == set()
    assert len(matrix.by_link_type()[247]) == 2 * len(Opcode)
