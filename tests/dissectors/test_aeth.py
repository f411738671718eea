"""The AETH syndrome against tshark's tables."""

from __future__ import annotations

from dissectors.aeth import CREDITS, NAK_NAMES, RNR_TIMER_NS, decode
from tests.dissectors.test_opcode import tshark_values


def test_rnr_timers_are_those_of_tshark() -> None:
    theirs = tshark_values("infiniband.aeth.syndrome.timer")
    assert [f"{ns / 1e6:.2f} ms" for ns in RNR_TIMER_NS] == [theirs[code] for code in range(32)]


def test_nak_codes_are_those_of_tshark() -> None:
    theirs = tshark_values("infiniband.aeth.syndrome.error_code")
    assert {code & 0x1F: name.lower() for code, name in NAK_NAMES.items()} == {
        code: name.lower() for code, name in theirs.items()
    }


def test_every_syndrome_decodes() -> None:
    kinds = [decode(syndrome).kind for syndrome in range(256)]
    assert kinds[:0x80] == ["ack"] * 32 + ["rnr"] * 32 + ["reserved"] * 32 + ["nak"] * 32
    assert set(kinds[0x80:]) == {"reserved"}
    assert decode(0x1F).text == "ACK, no credit limit"
    assert decode(0x20).text == "RNR NAK, timer 655.36 ms"
    assert decode(0x2E).text == "RNR NAK, timer 1.28 ms"
    assert decode(0x62).text == "NAK, remote access error"
    assert len(CREDITS) == 31
