"""Every field that both tshark and we know, of every sample and of the generated matrix."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from functools import cache
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


@cache
def differences(source: int | str) -> tuple[tuple[str, str, str], ...]:
    """Every value in which tshark and we differ, errors of tshark's included, as (field, frame,
    both values): of the samples, or of the matrix of a link type.
    """
    link_type = source if isinstance(source, int) else 1
    known = matrix.by_link_type()[link_type] if isinstance(source, int) else samples()
    names = sorted({field.tshark for field in tshark.all_fields(KINDS)})
    with tempfile.TemporaryDirectory() as folder:
        # In one file, because starting tshark takes longer than reading them all.
        path = Path(folder) / "all.pcap"
        tshark.write_pcap(path, link_type, (frame for _, frame in known))
        theirs = tshark.values(path, names)
    assert len(theirs) == len(known) > 0
    return tuple(
        (name, what, f"tshark {said[name]}, ours {own[name]}")
        for (what, frame), said in zip(known, theirs, strict=True)
        for own in [ours(Packet.parse(frame, link_type), names)]
        for name in names
        if said[name] != own[name]
    )


def samples() -> list[tuple[str, bytes]]:
    """Every frame of every sample capture."""
    return [(f"{path.stem} {number}", frame) for path in FILES for number, _, frame in frames(path)]


def excuses(name: str, what: str) -> set[int]:
    """Which of tshark's errors explain a difference."""
    return {
        row
        for row, (field, frame, _) in enumerate(TSHARK_ERRORS)
        if re.fullmatch(field, name) and re.fullmatch(frame, what)
    }


LINK_TYPES = sorted(matrix.by_link_type().keys() - {UNSUPPORTED})


@pytest.mark.parametrize("source", ["samples", *LINK_TYPES])
def test_no_difference_is_unexplained(source: int | str) -> None:
    assert [row for row in differences(source) if not excuses(row[0], row[1])] == []


def test_every_error_of_tsharks_is_still_there() -> None:
    found = [row for source in ("samples", *LINK_TYPES) for row in differences(source)]
    needed = {row for name, what, _ in found for row in excuses(name, what)}
    assert needed == set(range(len(TSHARK_ERRORS)))


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
