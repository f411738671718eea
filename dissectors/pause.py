"""MAC control: pause and priority flow control, what makes an Ethernet lossless for RoCE."""

from __future__ import annotations

from dissectors.header import AUTO, Field, Header
from dissectors.text import hexadecimal

OPCODE_PAUSE = 0x0001
OPCODE_PFC = 0x0101


class MACControl(Header):
    """MAC control (IEEE 802.3, 31.4), EtherType 0x8808."""

    opcode = Field(
        16,
        "kind of control",
        default=AUTO,
        text=hexadecimal(4),
        names={OPCODE_PAUSE: "pause", OPCODE_PFC: "priority flow control"},
        tshark="macc.opcode",
    )


class Pause(Header):
    """Pause of the whole link (IEEE 802.3, 31B)."""

    quanta = Field(16, "time in 512 bit times; 0 lets go", tshark="macc.pause_time")


class PFC(Header):
    """Priority flow control (IEEE 802.1Q, 36)."""

    enabled = Field(16, "bit n: time n is valid", text=hexadecimal(4), tshark="macc.cbfc.enbv")
    time0 = Field(16, "pause of priority 0 in 512 bit times", tshark="macc.cbfc.pause_time.c0")
    time1 = Field(16, "pause of priority 1", tshark="macc.cbfc.pause_time.c1")
    time2 = Field(16, "pause of priority 2", tshark="macc.cbfc.pause_time.c2")
    time3 = Field(16, "pause of priority 3", tshark="macc.cbfc.pause_time.c3")
    time4 = Field(16, "pause of priority 4", tshark="macc.cbfc.pause_time.c4")
    time5 = Field(16, "pause of priority 5", tshark="macc.cbfc.pause_time.c5")
    time6 = Field(16, "pause of priority 6", tshark="macc.cbfc.pause_time.c6")
    time7 = Field(16, "pause of priority 7", tshark="macc.cbfc.pause_time.c7")
