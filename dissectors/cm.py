"""Communication management: how queue pairs are connected, and where their PSNs are announced.

A message follows the common header of a MAD and is 232 bytes. The starting PSN is that of the
first request its sender expects to receive (kernel rdma_cm: the announcer's rq_psn).
"""

from __future__ import annotations

from dissectors.header import Data, Field, Header
from dissectors.text import embedded_ip, hexadecimal, ipv6, psn

PATH_MTU_NAMES = {1: "256", 2: "512", 3: "1024", 4: "2048", 5: "4096"}
SERVICE_NAMES = {0: "RC", 1: "UC", 2: "RD", 3: "see extended transport"}
REJECTED_NAMES = {0: "REQ", 1: "REP", 2: "no message"}
REJECT_REASONS = {
    1: "no QP available",
    2: "no EEC available",
    3: "no resources available",
    4: "timeout",
    5: "unsupported request",
    6: "invalid communication ID",
    7: "invalid communication instance",
    8: "invalid service ID",
    9: "invalid transport service type",
    10: "stale connection",
    11: "RDC does not exist",
    12: "primary remote port GID rejected",
    13: "primary remote port LID rejected",
    14: "invalid primary SL",
    15: "invalid primary traffic class",
    16: "invalid primary hop limit",
    17: "invalid primary packet rate",
    18: "alternate remote port GID rejected",
    19: "alternate remote port LID rejected",
    20: "invalid alternate SL",
    21: "invalid alternate traffic class",
    22: "invalid alternate hop limit",
    23: "invalid alternate packet rate",
    24: "port and CM redirection",
    25: "port redirection",
    26: "invalid path MTU",
    27: "insufficient responder resources",
    28: "consumer reject",
    29: "RNR retry count reject",
    30: "duplicate local communication ID",
    31: "invalid class version",
    32: "invalid flow label",
    33: "invalid alternate flow label",
}
SIDR_STATUS_NAMES = {
    0: "valid QPN",
    1: "service ID not supported",
    2: "rejected by service provider",
    3: "no QP available",
    4: "request should be redirected",
    5: "unsupported version",
}


IP_PORT_SPACE = 0x0000000001
"""Top 40 bits of a service ID of the IP port space: then come protocol and port (A11.4)."""
PROTOCOLS = {0x06: "TCP", 0x11: "UDP"}


def service(value: int) -> str:
    """A service ID, with the IP port that it stands for."""
    said = f"0x{value:016x}"
    if value >> 24 != IP_PORT_SPACE:
        return said
    protocol = value >> 16 & 0xFF
    return f"{said} ({PROTOCOLS.get(protocol, f'protocol {protocol}')} port {value & 0xFFFF})"


def timeout(code: int) -> str:
    """A 5-bit timeout code in words: 4.096 us times 2 to the code."""
    return f"{code} ({4.096 * 2**code / 1000:.3f} ms)"


class CM_REQ(Header):
    """CM connect request (IBTA vol. 1, 12.6.5)."""

    local_comm_id = Field(
        32, "sender's communication ID", text=hexadecimal(8), tshark="infiniband.cm.req"
    )
    reserved32a = Field(32, "reserved")
    service_id = Field(64, "service asked for", text=service, tshark="infiniband.cm.req.serviceid")
    local_ca_guid = Field(
        64, "sender's channel adapter", text=hexadecimal(16), tshark="infiniband.cm.req.localcaguid"
    )
    reserved32b = Field(32, "reserved")
    local_q_key = Field(
        32, "queue key, for RD", text=hexadecimal(8), tshark="infiniband.cm.req.localqkey"
    )
    local_qpn = Field(
        24, "sender's queue pair", text=hexadecimal(6), tshark="infiniband.cm.req.localqpn"
    )
    responder_resources = Field(
        8, "READs and atomics the sender serves at once", tshark="infiniband.cm.req.responderres"
    )
    local_eecn = Field(24, "sender's EE context, for RD", tshark="infiniband.cm.req.localeecn")
    initiator_depth = Field(
        8, "READs and atomics the sender starts at once", tshark="infiniband.cm.req.initdepth"
    )
    remote_eecn = Field(24, "receiver's EE context, for RD", tshark="infiniband.cm.req.remoteeecn")
    remote_cm_timeout = Field(
        5, "receiver answers within", text=timeout, tshark="infiniband.cm.req.remoteresptout"
    )
    transport_service_type = Field(
        2, "transport", names=SERVICE_NAMES, tshark="infiniband.cm.req.transpsvctype"
    )
    flow_control = Field(1, "end-to-end flow control", tshark="infiniband.cm.req.e2eflowctrl")
    starting_psn = Field(
        24,
        "PSN of the first request the sender accepts",
        text=psn,
        tshark="infiniband.cm.req.startpsn",
    )
    local_cm_timeout = Field(
        5, "sender answers within", text=timeout, tshark="infiniband.cm.req.localresptout"
    )
    retry_count = Field(3, "transport retries", tshark="infiniband.cm.req.retrcount")
    p_key = Field(16, "partition key", text=hexadecimal(4), tshark="infiniband.cm.req.pkey")
    path_mtu = Field(4, "path MTU code", names=PATH_MTU_NAMES, tshark="infiniband.cm.req.pppmtu")
    rdc_exists = Field(1, "RD channel exists", tshark="infiniband.cm.req.rdcexist")
    rnr_retry_count = Field(
        3, "retries after RNR NAK; 7 is for ever", tshark="infiniband.cm.req.rnrretrcount"
    )
    max_cm_retries = Field(4, "retries of CM messages", tshark="infiniband.cm.req.maxcmretr")
    srq = Field(1, "sender receives from a shared queue", tshark="infiniband.cm.req.srq")
    extended_transport = Field(3, "1 is XRC", tshark="infiniband.cm.req.ext_transport")
    primary_local_lid = Field(16, "sender's LID", tshark="infiniband.cm.req.prim_locallid")
    primary_remote_lid = Field(16, "receiver's LID", tshark="infiniband.cm.req.prim_remotelid")
    primary_local_gid = Data(
        16, "sender's GID", text=ipv6, tshark="infiniband.cm.req.prim_localgid"
    )
    primary_remote_gid = Data(
        16, "receiver's GID", text=ipv6, tshark="infiniband.cm.req.prim_remotegid"
    )
    primary_flow_label = Field(20, "flow label", tshark="infiniband.cm.req.prim_flowlabel")
    reserved6a = Field(6, "reserved", tshark="infiniband.cm.req.prim_reserved0")
    primary_packet_rate = Field(6, "packet rate code", tshark="infiniband.cm.req.prim_pktrate")
    primary_traffic_class = Field(8, "traffic class", tshark="infiniband.cm.req.prim_tfcclass")
    primary_hop_limit = Field(8, "hop limit", tshark="infiniband.cm.req.prim_hoplim")
    primary_sl = Field(4, "service level", tshark="infiniband.cm.req.prim_sl")
    primary_subnet_local = Field(1, "same subnet", tshark="infiniband.cm.req.prim_subnetlocal")
    reserved3a = Field(3, "reserved", tshark="infiniband.cm.req.prim_reserved1")
    primary_ack_timeout = Field(
        5, "ACK timeout", text=timeout, tshark="infiniband.cm.req.prim_localacktout"
    )
    reserved3b = Field(3, "reserved", tshark="infiniband.cm.req.prim_reserved2")
    alternate_local_lid = Field(16, "as primary", tshark="infiniband.cm.req.alt_locallid")
    alternate_remote_lid = Field(16, "as primary", tshark="infiniband.cm.req.alt_remotelid")
    alternate_local_gid = Data(16, "as primary", text=ipv6, tshark="infiniband.cm.req.alt_localgid")
    alternate_remote_gid = Data(
        16, "as primary", text=ipv6, tshark="infiniband.cm.req.alt_remotegid"
    )
    alternate_flow_label = Field(20, "as primary", tshark="infiniband.cm.req.alt_flowlabel")
    reserved6b = Field(6, "reserved", tshark="infiniband.cm.req.alt_reserved0")
    alternate_packet_rate = Field(6, "as primary", tshark="infiniband.cm.req.alt_pktrate")
    alternate_traffic_class = Field(8, "as primary", tshark="infiniband.cm.req.alt_tfcclass")
    alternate_hop_limit = Field(8, "as primary", tshark="infiniband.cm.req.alt_hoplim")
    alternate_sl = Field(4, "as primary", tshark="infiniband.cm.req.alt_sl")
    alternate_subnet_local = Field(1, "as primary", tshark="infiniband.cm.req.alt_subnetlocal")
    reserved3c = Field(3, "reserved", tshark="infiniband.cm.req.alt_reserved1")
    alternate_ack_timeout = Field(
        5, "as primary", text=timeout, tshark="infiniband.cm.req.alt_localacktout"
    )
    reserved3d = Field(3, "reserved")
    private_data = Data(92, "the consumer's", tshark="infiniband.cm.req.private")


class CM_MRA(Header):
    """CM message receipt acknowledgement (IBTA vol. 1, 12.6.6)."""

    local_comm_id = Field(32, "sender's communication ID", text=hexadecimal(8))
    remote_comm_id = Field(32, "receiver's communication ID", text=hexadecimal(8))
    message = Field(2, "message received", names={0: "REQ", 1: "REP", 2: "LAP"})
    reserved6 = Field(6, "reserved")
    service_timeout = Field(5, "answer follows within", text=timeout)
    reserved3 = Field(3, "reserved")
    private_data = Data(222, "the consumer's")


class CM_REJ(Header):
    """CM reject (IBTA vol. 1, 12.6.7)."""

    local_comm_id = Field(
        32, "sender's communication ID", text=hexadecimal(8), tshark="infiniband.cm.rej.localcommid"
    )
    remote_comm_id = Field(
        32,
        "receiver's communication ID",
        text=hexadecimal(8),
        tshark="infiniband.cm.rej.remotecommid",
    )
    message = Field(2, "message rejected", names=REJECTED_NAMES, tshark="infiniband.cm.rej.msgrej")
    reserved6 = Field(6, "reserved")
    info_length = Field(7, "bytes of ari in use", tshark="infiniband.cm.rej.rejinfolen")
    reserved1 = Field(1, "reserved", tshark="infiniband.cm.rej.reserved1")
    reason = Field(16, "why", names=REJECT_REASONS, tshark="infiniband.cm.rej.reason")
    ari = Data(72, "additional reject information", tshark="infiniband.cm.rej.ari")
    private_data = Data(148, "the consumer's", tshark="infiniband.cm.rej.private")


class CM_REP(Header):
    """CM reply to a connect request (IBTA vol. 1, 12.6.8)."""

    local_comm_id = Field(
        32, "sender's communication ID", text=hexadecimal(8), tshark="infiniband.cm.rep"
    )
    remote_comm_id = Field(
        32,
        "receiver's communication ID",
        text=hexadecimal(8),
        tshark="infiniband.cm.rep.remotecommid",
    )
    local_q_key = Field(
        32, "queue key, for RD", text=hexadecimal(8), tshark="infiniband.cm.rep.localqkey"
    )
    local_qpn = Field(
        24, "sender's queue pair", text=hexadecimal(6), tshark="infiniband.cm.rep.localqpn"
    )
    reserved8a = Field(8, "reserved")
    local_eecn = Field(24, "sender's EE context, for RD", tshark="infiniband.cm.rep.localeecn")
    reserved8b = Field(8, "reserved")
    starting_psn = Field(
        24,
        "PSN of the first request the sender accepts",
        text=psn,
        tshark="infiniband.cm.rep.startpsn",
    )
    reserved8c = Field(8, "reserved")
    responder_resources = Field(
        8, "READs and atomics the sender serves at once", tshark="infiniband.cm.rep.respres"
    )
    initiator_depth = Field(
        8, "READs and atomics the sender starts at once", tshark="infiniband.cm.rep.initdepth"
    )
    target_ack_delay = Field(
        5, "sender acknowledges within", text=timeout, tshark="infiniband.cm.rep.tgtackdelay"
    )
    failover_accepted = Field(2, "alternate path", tshark="infiniband.cm.rep.failoveracc")
    flow_control = Field(1, "end-to-end flow control", tshark="infiniband.cm.rep.e2eflowctrl")
    rnr_retry_count = Field(
        3, "retries after RNR NAK; 7 is for ever", tshark="infiniband.cm.rep.rnrretrcount"
    )
    srq = Field(1, "sender receives from a shared queue", tshark="infiniband.cm.rep.srq")
    reserved4 = Field(4, "reserved", tshark="infiniband.cm.rep.reserved")
    local_ca_guid = Field(
        64, "sender's channel adapter", text=hexadecimal(16), tshark="infiniband.cm.rep.localcaguid"
    )
    private_data = Data(196, "the consumer's", tshark="infiniband.cm.rep.private")


class CM_RTU(Header):
    """CM ready to use (IBTA vol. 1, 12.6.9)."""

    local_comm_id = Field(
        32, "sender's communication ID", text=hexadecimal(8), tshark="infiniband.cm.rtu.localcommid"
    )
    remote_comm_id = Field(
        32,
        "receiver's communication ID",
        text=hexadecimal(8),
        tshark="infiniband.cm.rtu.remotecommid",
    )
    private_data = Data(224, "the consumer's", tshark="infiniband.cm.rtu.private")


class CM_DREQ(Header):
    """CM disconnect request (IBTA vol. 1, 12.6.10)."""

    local_comm_id = Field(
        32,
        "sender's communication ID",
        text=hexadecimal(8),
        tshark="infiniband.cm.dreq.localcommid",
    )
    remote_comm_id = Field(
        32,
        "receiver's communication ID",
        text=hexadecimal(8),
        tshark="infiniband.cm.dreq.remotecommid",
    )
    remote_qpn = Field(
        24, "receiver's queue pair", text=hexadecimal(6), tshark="infiniband.cm.req.remoteqpneecn"
    )
    reserved8 = Field(8, "reserved")
    private_data = Data(220, "the consumer's", tshark="infiniband.cm.dreq.private")


class CM_DREP(Header):
    """CM disconnect reply (IBTA vol. 1, 12.6.11)."""

    local_comm_id = Field(
        32,
        "sender's communication ID",
        text=hexadecimal(8),
        tshark="infiniband.cm.drsp.localcommid",
    )
    remote_comm_id = Field(
        32,
        "receiver's communication ID",
        text=hexadecimal(8),
        tshark="infiniband.cm.drsp.remotecommid",
    )
    private_data = Data(224, "the consumer's", tshark="infiniband.cm.drsp.private")


class CM_SIDR_REQ(Header):
    """CM service ID resolution request, for UD (IBTA vol. 1, 12.11.1)."""

    request_id = Field(32, "request identifier", text=hexadecimal(8))
    p_key = Field(16, "partition key", text=hexadecimal(4))
    reserved16 = Field(16, "reserved")
    service_id = Field(64, "service asked for", text=service)
    private_data = Data(216, "the consumer's")


class CM_SIDR_REP(Header):
    """CM service ID resolution reply (IBTA vol. 1, 12.11.2)."""

    request_id = Field(32, "request identifier", text=hexadecimal(8))
    status = Field(8, "outcome", names=SIDR_STATUS_NAMES)
    info_length = Field(8, "bytes of additional information in use")
    reserved16 = Field(16, "reserved")
    qpn = Field(24, "queue pair of the service", text=hexadecimal(6))
    reserved8 = Field(8, "reserved")
    service_id = Field(64, "service asked for", text=service)
    q_key = Field(32, "queue key of the service", text=hexadecimal(8))
    additional_information = Data(72, "additional information")
    private_data = Data(136, "the consumer's")


class IP_CM(Header):
    """IP addressing in the private data of REQ and SIDR_REQ (IBTA vol. 1, A11.4; kernel
    cma.c).
    """

    major_version = Field(4, "major version, 0", tshark="infiniband.cm.req.ip_cm.majv")
    minor_version = Field(4, "minor version, 0", tshark="infiniband.cm.req.ip_cm.minv")
    ip_version = Field(4, "4 or 6", tshark="infiniband.cm.req.ip_cm.ipv")
    reserved4 = Field(4, "reserved", tshark="infiniband.cm.req.ip_cm.reserved")
    src_port = Field(16, "source port", tshark="infiniband.cm.req.ip_cm.sport")
    src = Data(
        16,
        "source address, IPv4 in the last 4 bytes",
        text=embedded_ip,
        tshark="infiniband.cm.req.ip_cm.sip6",
    )
    dst = Data(
        16,
        "destination address, IPv4 in the last 4 bytes",
        text=embedded_ip,
        tshark="infiniband.cm.req.ip_cm.dip6",
    )


MESSAGES: dict[int, type[Header]] = {
    0x0010: CM_REQ,
    0x0011: CM_MRA,
    0x0012: CM_REJ,
    0x0013: CM_REP,
    0x0014: CM_RTU,
    0x0015: CM_DREQ,
    0x0016: CM_DREP,
    0x0017: CM_SIDR_REQ,
    0x0018: CM_SIDR_REP,
}
"""Attribute ID of a communication management MAD -> its message (IBTA vol. 1, table 105)."""
