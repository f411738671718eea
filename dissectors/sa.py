"""Subnet administration: the path records that connection set-up asks for."""

from __future__ import annotations

from dissectors.header import Data, Field, Header
from dissectors.text import hexadecimal, ipv6

ATTRIBUTE_PATH_RECORD = 0x0035


class RMPP(Header):
    """Reliable multi-packet transaction header (IBTA vol. 1, 13.6.2.1)."""

    version = Field(8, "version, 1", tshark="infiniband.rmpp.rmppversion")
    type = Field(
        8,
        "kind of segment",
        names={0: "none", 1: "data", 2: "ack", 3: "stop", 4: "abort"},
        tshark="infiniband.rmpp.rmpptype",
    )
    response_time = Field(5, "response time code")
    flags = Field(3, "1 active, 2 first, 4 last")
    status = Field(8, "status", tshark="infiniband.rmpp.rmppstatus")
    segment = Field(32, "segment number, or first data word")
    payload_length = Field(32, "payload length, or second data word")


class SA(Header):
    """Subnet administration header (IBTA vol. 1, 15.2.1.1)."""

    sm_key = Field(64, "verification key", text=hexadecimal(16), tshark="infiniband.sa.smkey")
    attribute_offset = Field(
        16, "8-byte words from record to record", tshark="infiniband.sa.attributeoffset"
    )
    reserved16 = Field(16, "reserved")
    component_mask = Field(
        64, "bit n: component n counts", text=hexadecimal(16), tshark="infiniband.sa.componentmask"
    )


class PathRecord(Header):
    """Path record (IBTA vol. 1, 15.2.5.16)."""

    service_id = Field(64, "service", text=hexadecimal(16))
    dgid = Data(16, "destination GID", text=ipv6, tshark="infiniband.pathrecord.dgid")
    sgid = Data(16, "source GID", text=ipv6, tshark="infiniband.pathrecord.sgid")
    dlid = Field(16, "destination LID", tshark="infiniband.pathrecord.dlid")
    slid = Field(16, "source LID", tshark="infiniband.pathrecord.slid")
    raw_traffic = Field(1, "path may carry raw packets", tshark="infiniband.pathrecord.rawtraffic")
    reserved3 = Field(3, "reserved")
    flow_label = Field(20, "flow label", tshark="infiniband.pathrecord.flowlabel")
    hop_limit = Field(8, "hop limit", tshark="infiniband.pathrecord.hoplimit")
    traffic_class = Field(8, "traffic class", tshark="infiniband.pathrecord.tclass")
    reversible = Field(1, "works both ways", tshark="infiniband.pathrecord.reversible")
    number_of_paths = Field(7, "paths asked for", tshark="infiniband.pathrecord.numbpath")
    p_key = Field(16, "partition key", text=hexadecimal(4), tshark="infiniband.pathrecord.p_key")
    qos_class = Field(12, "quality of service class")
    sl = Field(4, "service level", tshark="infiniband.pathrecord.sl")
    mtu_selector = Field(2, "how to compare", tshark="infiniband.pathrecord.mtuselector")
    mtu = Field(6, "path MTU code", tshark="infiniband.pathrecord.mtu")
    rate_selector = Field(2, "how to compare", tshark="infiniband.pathrecord.rateselector")
    rate = Field(6, "rate code", tshark="infiniband.pathrecord.rate")
    packet_lifetime_selector = Field(
        2, "how to compare", tshark="infiniband.pathrecord.packetlifetimeselector"
    )
    packet_lifetime = Field(6, "lifetime code", tshark="infiniband.pathrecord.packetlifetime")
    preference = Field(8, "lower is better", tshark="infiniband.pathrecord.preference")
    reserved48 = Field(48, "reserved")
