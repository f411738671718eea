"""Management datagrams: what travels between the queue pairs 0 and 1."""

from __future__ import annotations

from dissectors.header import Field, Header
from dissectors.text import hexadecimal

CLASS_SA = 0x03
CLASS_CM = 0x07
CLASS_NAMES = {
    0x01: "subnet management, LID routed",
    CLASS_SA: "subnet administration",
    0x04: "performance",
    CLASS_CM: "communication management",
    0x81: "subnet management, directed route",
}
METHOD_NAMES = {
    0x01: "Get",
    0x02: "Set",
    0x03: "Send",
    0x05: "Trap",
    0x06: "Report",
    0x07: "TrapRepress",
    0x12: "GetTable",
    0x15: "Delete",
    0x81: "GetResp",
    0x86: "ReportResp",
    0x92: "GetTableResp",
    0x95: "DeleteResp",
}
SIZE = 256
"""Bytes of every management datagram."""

Q_KEY = 0x80010000
"""Queue key of queue pair 1 (IBTA vol. 1, 10.2.4)."""


class MAD(Header):
    """Management datagram common header (IBTA vol. 1, 13.4.2)."""

    base_version = Field(8, "header version, 1", default=1, tshark="infiniband.mad.baseversion")
    mgmt_class = Field(8, "management class", names=CLASS_NAMES, tshark="infiniband.mad.mgmtclass")
    class_version = Field(
        8, "version of the class", default=1, tshark="infiniband.mad.classversion"
    )
    method = Field(
        8, "method; top bit: response", names=METHOD_NAMES, tshark="infiniband.mad.method"
    )
    status = Field(16, "status", text=hexadecimal(4), tshark="infiniband.mad.status")
    class_specific = Field(16, "class specific", tshark="infiniband.mad.classspecific")
    transaction_id = Field(
        64, "transaction identifier", text=hexadecimal(16), tshark="infiniband.mad.transactionid"
    )
    attribute_id = Field(
        16,
        "what the method is applied to",
        text=hexadecimal(4),
        tshark="infiniband.mad.attributeid",
    )
    reserved16 = Field(16, "reserved")
    attribute_modifier = Field(
        32, "attribute modifier", text=hexadecimal(8), tshark="infiniband.mad.attributemodifier"
    )
