"""Scapy layers: real captures and the matrix through them, against Packet and scapy's own RoCE."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dissectors.header import Header
from dissectors.opcode import Opcode
from dissectors.packet import Packet
from tests.dissectors import matrix
from tests.dissectors.samples import FILES, SAMPLES, frames


@pytest.fixture
def layers() -> Iterator[ModuleType]:
    """The layers, bound for one test: others of this process use scapy.contrib.roce."""
    from scapy.config import conf

    from dissectors import scapy_layers

    scapy_layers.bind()
    conf.debug_dissector = True
    yield scapy_layers
    conf.debug_dissector = False
    scapy_layers.unbind()


def ours(layers: ModuleType, dissected: Any) -> list[Any]:
    """The layers of a dissected packet that are ours, outermost first."""
    found = []
    while dissected:
        found += [dissected] if isinstance(dissected, layers.Layer) else []
        dissected = dissected.payload
    return found


def agree(layers: ModuleType, frame: bytes, packet: Packet, dissect: Any) -> None:
    """Scapy with our layers gives the same bytes, headers, values and payload as Packet does."""
    from scapy.packet import Raw

    dissected = dissect(frame)
    assert bytes(dissected) == frame
    found = ours(layers, dissected)
    headers = (*packet.headers, *(header for _, header in packet.management))
    expected = [h for h in headers if type(h) in layers.LAYERS and type(h).__name__ != "IP_CM"]
    assert [layer.header() for layer in found] == expected
    for layer, header in zip(found, expected, strict=True):
        for field, value in zip(header.fields, header, strict=True):
            if not isinstance(value, bytes):
                assert getattr(layer, layers.scapy_name(field)) == value
    if layers.BTH in dissected and packet.damage is None:
        bth = dissected[layers.BTH]
        assert (bth.icrc, bth.pad) == (packet.icrc, packet.pad)
        behind = found[-1].payload
        if not packet.management:
            assert (behind.load if type(behind) is Raw else b"") == packet.payload


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_samples(path: Path, layers: ModuleType) -> None:
    from scapy.layers.l2 import Ether

    for _, length, frame in frames(path):
        agree(layers, frame, Packet.parse(frame, original_length=length), Ether)


def test_every_opcode_over_every_carrier(layers: ModuleType) -> None:
    from scapy.layers.l2 import CookedLinux, CookedLinuxV2, Ether
    from scapy.layers.vxlan import VXLAN  # noqa: F401

    links = {1: Ether, 113: CookedLinux, 276: CookedLinuxV2, 247: layers.LRH}
    generated = matrix.by_link_type()
    for link_type, dissect in links.items():
        for what, frame in generated[link_type]:
            packet = Packet.parse(frame, link_type)
            # Scapy reads the first fragment of a datagram as the whole, and AH as IPsec does.
            if packet.damage is None and not what.startswith("ipv6-authentication"):
                agree(layers, frame, packet, dissect)


def without_what_is_computed(layers: ModuleType, dissected: Any) -> Any:
    """The packet as a user would write it: no lengths, no pad, no ICRC."""
    for layer in ours(layers, dissected):
        for field in layer.kind.fields:
            if field.default == -1:
                layer.delfieldval(field.name)
    for name in ("icrc", "pad", "pad_count"):
        dissected[layers.BTH].delfieldval(name)
    return dissected


def test_pad_lengths_and_icrc_are_computed_as_rxe_does(layers: ModuleType) -> None:
    from scapy.layers.l2 import Ether

    count = 0
    for name in ("rxe61_pyverbs_wrap", "rxe61_ibv_rc_pingpong_ipv6gid0", "rxe61_cm_rping"):
        for _, _, frame in frames(SAMPLES / f"{name}.pcap"):
            dissected = Ether(frame)
            if layers.BTH in dissected:
                count += 1
                assert bytes(without_what_is_computed(layers, dissected)) == frame
    assert count == 18 + 100 + 65


def test_native_infiniband_and_version_1_are_computed_as_packet_does(layers: ModuleType) -> None:
    from scapy.layers.l2 import Ether

    for carrier, dissect in {"infiniband": layers.LRH, "infiniband-grh": layers.LRH,
                             "roce-v1": Ether, "vxlan": Ether}.items():  # fmt: skip
        _, headers, trailer = matrix.CARRIERS[carrier]
        for row in Opcode:
            frame = matrix.roce(row, headers, trailer).build()
            assert bytes(without_what_is_computed(layers, dissect(frame))) == frame


@pytest.mark.parametrize("carrier", ["ipv4", "ipv6"])
def test_icrc_is_that_of_scapys_own_roce(carrier: str, layers: ModuleType) -> None:
    from scapy.contrib import roce
    from scapy.layers.inet import IP, UDP
    from scapy.layers.inet6 import IPv6

    network = IP(src="10.77.0.1", dst="10.77.0.2", id=7) if carrier == "ipv4" else (
        IPv6(src="fe80::1", dst="fe80::2", tc=3, fl=5))  # fmt: skip
    for row in Opcode:
        extended = b"".join(matrix.telling(kind).pack() for kind in row.headers)
        made = (
            network / UDP() / layers.BTH(opcode=row.name, dest_qp=5, psn=6) / (extended + b"1234")
        )
        theirs = network / UDP() / roce.BTH(opcode=int(row), dqpn=5, psn=6) / (extended + b"1234")
        assert bytes(made) == bytes(theirs)


def test_ours_win_over_scapys_own_until_unbound(layers: ModuleType) -> None:
    from scapy.contrib import roce
    from scapy.layers.l2 import Ether

    frame = matrix.roce(Opcode.RC_RDMA_READ_REQUEST, matrix.CARRIERS["ipv4"][1]).build()
    assert layers.RETH in Ether(frame)
    assert roce.BTH not in Ether(frame)
    layers.unbind()
    assert roce.BTH in Ether(frame)
    layers.bind(5000)
    assert layers.BTH not in Ether(frame)
    other = Ether(frame)
    other.dport = 5000
    assert layers.RETH in Ether(bytes(other))
    layers.unbind(5000)


def test_words_come_from_the_declarations(layers: ModuleType) -> None:
    assert "RNR NAK, timer 0.64 ms" in repr(layers.AETH(syndrome=0x2C))
    assert "consumer reject" in layers.CM_REJ(reason=28).show(dump=True)
    assert layers.BTH(opcode="CNP").opcode == Opcode.CNP
    assert layers.AtomicAckETH(original_=9).header().as_dict() == {"original": 9}


def test_a_cut_packet_keeps_its_bytes(layers: ModuleType) -> None:
    from scapy.config import conf
    from scapy.layers.l2 import Ether

    conf.debug_dissector = False
    frame = matrix.roce(Opcode.RC_RDMA_WRITE_ONLY, matrix.CARRIERS["ipv4"][1]).build()
    for end in range(14, len(frame)):
        assert bytes(Ether(frame[:end])) == frame[:end]
    cut = Ether(frame[:80])
    assert cut[layers.BTH].icrc is None
    assert cut[layers.RETH].header() == Packet.parse(frame).headers[-1]


def test_every_transport_and_management_header_has_a_layer(layers: ModuleType) -> None:
    kinds: set[type[Header]] = {kind for row in Opcode for kind in row.headers}
    for _, frame in matrix.management():
        kinds |= {type(header) for _, header in Packet.parse(frame).management}
    assert kinds <= layers.LAYERS.keys()


def test_nothing_else_needs_scapy() -> None:
    folder = Path(__file__).resolve().parents[2] / "dissectors"
    names = [path.stem for path in folder.glob("*.py") if path.stem != "scapy_layers"]
    imports = "; ".join(f"import dissectors.{name}" for name in names)
    code = f"import sys; {imports}; assert 'scapy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
