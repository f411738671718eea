"""Declaring, reading and writing headers."""

from __future__ import annotations

import pickle
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dissectors.aeth import AETH
from dissectors.bth import BTH
from dissectors.ethernet import Ethernet
from dissectors.header import AUTO, Data, Field, Header, Variable
from dissectors.ip import IPv4, IPv6
from dissectors.opcode import Opcode
from dissectors.reth import RETH
from dissectors.udp import UDP


def every_header(base: type[Header] = Header) -> list[type[Header]]:
    """All declared headers: the subclasses of Header that have fields."""
    found = [base] if base.fields else []
    return found + [kind for sub in base.__subclasses__() for kind in every_header(sub)]


def by_hand(kind: type[Header], data: bytes) -> list[Any]:
    """The field values, read from one big integer: the obvious way."""
    word = int.from_bytes(data, "big")
    total = 8 * len(data)
    values: list[Any] = []
    for field in kind.fields:
        value = word >> (total - field.bit_offset - field.bits) & (1 << field.bits) - 1
        is_data = isinstance(field, Data)
        values.append(value.to_bytes(field.bits // 8, "big") if is_data else value)
    return values


@pytest.mark.parametrize("kind", every_header(), ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_reading_and_writing_any_bytes(kind: type[Header], data: st.DataObject) -> None:
    raw = data.draw(st.binary(min_size=kind.size, max_size=kind.size))
    header = kind.parse(raw)
    assert list(header) == by_hand(kind, raw)
    assert header.pack() == raw
    assert kind.parse(b"junk" + raw, 4) == header
    assert kind.parse(memoryview(raw)) == header
    assert str(header).startswith(kind.__name__)


def test_sizes_are_the_standard_s() -> None:
    # IBTA vol. 1, figures of chapters 8 and 9
    sizes = {"BTH": 12, "GRH": 40, "DETH": 8, "RDETH": 4, "RETH": 16, "AETH": 4, "AtomicETH": 28}
    sizes |= {"AtomicAckETH": 8, "ImmDt": 4, "IETH": 4, "XRCETH": 4, "FETH": 4}
    sizes |= {"Ethernet": 14, "VLAN": 4, "IPv4": 20, "IPv6": 40, "UDP": 8, "TCP": 20}
    found = {kind.__name__: kind.size for kind in every_header()}
    assert sizes.items() <= found.items()
    assert {header.__name__ for row in Opcode for header in row.headers} <= sizes.keys()


def test_bth_bytes() -> None:
    bth = BTH(opcode=0x0A, se=1, pad_count=2, fecn=1, dest_qp=0x12, ack_req=1, psn=0xC0FFEE)
    assert bth.pack() == struct.pack(">BBHII", 0x0A, 0xA0, 0xFFFF, 0x80000012, 0x80C0FFEE)
    assert BTH.psn.bit_offset == 72
    assert BTH.psn.path == "bth.psn"
    assert BTH.psn.column == "bth_psn"


def test_values_are_checked_where_they_come_in() -> None:
    with pytest.raises(ValueError, match=r"bth\.psn holds 24 bits, got 16777216"):
        BTH(psn=1 << 24)
    with pytest.raises(ValueError, match=r"bth\.psn"):
        BTH(psn=-1)
    with pytest.raises(TypeError, match="BTH has no field 'qp'"):
        BTH(qp=1)
    with pytest.raises(ValueError, match=r"ipv6\.src holds 16 bytes"):
        IPv6(src=b"\x01")
    with pytest.raises(ValueError, match="RETH at offset 8 takes 16 bytes, 4 are left"):
        RETH.parse(bytes(12), 8)


def test_a_header_is_an_immutable_value() -> None:
    header = AETH(syndrome=0x1F, msn=3)
    with pytest.raises(AttributeError):
        header.msn = 4  # type: ignore[misc]
    with pytest.raises(AttributeError):
        header.typo = 4  # type: ignore[attr-defined]
    assert header.replace(msn=4) == AETH(syndrome=0x1F, msn=4)
    assert header != AETH(syndrome=0x1F, msn=4)
    assert len({header, AETH(syndrome=0x1F, msn=3)}) == 1
    assert pickle.loads(pickle.dumps(header)) == header


def test_headers_of_different_kinds_differ() -> None:
    class Twin(Header):
        """The same fields as AETH."""

        syndrome = Field(8, "x")
        msn = Field(24, "x")

    assert AETH(msn=1) != Twin(msn=1)


def test_auto_packs_as_zero() -> None:
    assert UDP().length == AUTO
    assert UDP(src_port=1).pack() == bytes([0, 1, 0, 0, 0, 0, 0, 0])


def test_a_variable_header_keeps_its_tail() -> None:
    raw = bytes([0x46]) + bytes(19) + b"\x01\x02\x03\x04" + b"rest"
    header = IPv4.parse(raw)
    assert header.options == b"\x01\x02\x03\x04"
    assert header.pack() == raw[:24]
    assert IPv4.parse(raw[:22]).options == b"\x01\x02"


def test_every_field_says_what_it_is() -> None:
    for kind in every_header():
        assert kind.__doc__, kind
        for field in kind.fields:
            assert field.doc, field.path
    assert Variable not in every_header()
    assert Ethernet in every_header()
