"""The byte view's data: every byte there or counted, every field where the standard puts it."""

from __future__ import annotations

import json

from analysis.report import packets
from analysis.templating import embed
from dissectors.bth import BTH
from dissectors.ethernet import Ethernet
from dissectors.ip import IPv4
from dissectors.packet import Packet
from dissectors.udp import UDP


def frame(payload: bytes) -> bytes:
    headers = (
        Ethernet(),
        IPv4(src=0x0A4D0001, dst=0x0A4D0002),
        UDP(src_port=50000, dst_port=4791),
        BTH(opcode=4, dest_qp=17, psn=0xC0FFEE),
    )
    return Packet(headers, payload).build()


def described(*frames: bytes) -> dict[str, object]:
    return packets.data((data, len(data), Packet.parse(data)) for data in frames)


def test_fields_stand_where_the_standard_puts_them() -> None:
    data = json.loads(embed(described(frame(b"payload!"))))
    (packet,) = data["packets"]
    fields = {
        (data["headers"][header]["name"], name): (bit, bits, value)
        for (header, name, bit, bits), value in zip(
            data["shapes"][packet["shape"]], packet["values"], strict=True
        )
    }
    # Ethernet 14, IPv4 20, UDP 8: BTH begins at byte 42; its PSN is its last three bytes.
    assert fields["BTH", "opcode"][:2] == (8 * 42, 8)
    assert fields["BTH", "psn"][:2] == (8 * 51, 24)
    assert packet["head"][2 * 51 : 2 * 54] == "c0ffee"
    assert fields["BTH", "psn"][2][0] == "0xc0ffee"
    assert fields["ICRC", "icrc"][:2] == (8 * (54 + 8), 32)
    assert fields["ICRC", "icrc"][2][1] == "correct"


def test_like_packets_share_a_shape() -> None:
    data = described(frame(b"aaaa"), frame(b"bbbb"), frame(b"four more"))
    assert [packet["shape"] for packet in data["packets"]] == [0, 0, 1]


def test_a_long_frame_keeps_head_and_tail() -> None:
    whole = frame(bytes(range(256)) * 4)
    (packet,) = described(whole)["packets"]
    assert packet["length"] == len(whole)
    assert bytes.fromhex(packet["head"]) == whole[: packets.HEAD]
    assert bytes.fromhex(packet["tail"]) == whole[-packets.TAIL :]


def test_embedded_json_cannot_leave_its_block() -> None:
    hostile = {"name": "</script><!--<script>&\u2028"}
    text = embed(hostile)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == hostile
