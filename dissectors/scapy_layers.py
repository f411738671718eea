"""Scapy layers of the RDMA headers, made from the same declarations as everything else here.

    from scapy.all import Ether, IP, UDP
    from dissectors.scapy_layers import BTH, RETH

    write = BTH(opcode="RC_RDMA_WRITE_ONLY", dest_qp=17) / RETH(va=0x1000, dma_len=1) / b"x"
    Ether() / IP(dst="10.77.0.1") / UDP() / write

Field names are the declarations' (IBTA's). What is left out is computed when building: lengths, pad
and pad count, ICRC. Importing this module binds the layers to UDP port 4791 and EtherType 0x8915;
where `scapy.contrib.roce` is loaded too these win, until `unbind()`. Nothing else of the package
needs scapy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scapy.config import conf
from scapy.fields import BitEnumField, BitField, IP6Field, StrFixedLenField
from scapy.fields import Field as ScapyField
from scapy.layers.inet import GRE, IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet as ScapyPacket
from scapy.packet import Raw, bind_top_down

from dissectors import (
    aeth,
    atomicacketh,
    atomiceth,
    bth,
    cm,
    deth,
    feth,
    grh,
    icrc,
    ieth,
    immdt,
    lrh,
    mad,
    management,
    opcode,
    rdeth,
    reth,
    sa,
    text,
    xrceth,
)
from dissectors.ethernet import ETHERTYPE_ROCE_V1
from dissectors.header import AUTO, Data, Field, Header
from dissectors.udp import ROCE_PORT

OPCODE_NAMES = {row.value: row.name for row in opcode.Opcode}


class Words(BitField):  # type: ignore[misc]  # scapy is not typed
    """A field shown in the words of its declaration."""

    __slots__ = ("declared",)

    def __init__(self, name: str, default: int | None, declared: Field) -> None:
        self.declared = declared
        super().__init__(name, default, declared.bits)

    def i2repr(self, _packet: Any, value: int | None) -> str:
        return "None" if value is None else self.declared.text(value)


class Behind(ScapyField):  # type: ignore[misc]
    """What BTH says of the bytes behind its payload; takes none of its own."""

    def addfield(self, _packet: Any, built: Any, _value: Any) -> Any:
        return built

    def getfield(self, _packet: Any, left: bytes) -> tuple[bytes, None]:
        return left, None

    def i2repr(self, _packet: Any, value: int | bytes | None) -> str:
        return hex(value) if isinstance(value, int) else repr(value)


def scapy_name(field: Field) -> str:
    """The field's name, behind which an underscore stands where scapy uses the name itself."""
    return f"{field.name}_" if hasattr(ScapyPacket, field.name) else field.name


def scapy_field(field: Field) -> Any:
    """The scapy field of a declared one."""
    name, default = scapy_name(field), None if field.default == AUTO else field.default
    if isinstance(field, Data):
        if field.text(field.default) == text.ipv6(bytes(16)):
            return IP6Field(name, "::")
        return StrFixedLenField(name, default, field.bits // 8)
    if field.path == "bth.opcode":
        return BitEnumField(name, default, field.bits, OPCODE_NAMES)
    if field.path == "bth.pad_count":
        return Words(name, None, field)
    if field.names:
        return BitEnumField(name, default, field.bits, dict(field.names))
    return Words(name, default, field)


class Layer(ScapyPacket):  # type: ignore[misc]
    """Base of the layers: `kind` is the declared header."""

    kind: type[Header] = Header

    def followers(self) -> tuple[Any, ...] | None:
        """Layers that this one calls for, in order; None where an earlier layer calls for them."""
        return None

    def guess_payload_class(self, payload: bytes) -> Any:
        caller, passed = self, 0
        while isinstance(caller, Layer) and caller.followers() is None:
            caller, passed = caller.underlayer, passed + 1
        called = caller.followers() if isinstance(caller, Layer) else None
        following = (called or ())[passed:]
        if not following:
            return super().guess_payload_class(payload)
        return following[0] if len(payload) >= following[0].kind.size else Raw

    def header(self) -> Header:
        """The declared header of this layer, its bytes being those that it would be built of."""
        return self.kind.parse(self.self_build())

    def post_build(self, built: bytes, payload: bytes) -> bytes:
        left = [f.name for f in self.kind.fields if f.default == AUTO]
        computed = {name: AUTO for name in left if self.getfieldval(name) is None}
        if computed:
            built = self.kind.parse(built).replace(**computed).filled(len(payload)).pack()
        return built + payload


class Transport(Layer):
    """BTH, with the pad and the ICRC that stand behind its payload."""

    def followers(self) -> tuple[Any, ...]:
        row = opcode.BY_VALUE[self.opcode]
        kinds = row.headers if row is not None else ()
        if deth.DETH in kinds and self.dest_qp in (0, 1):
            kinds = (*kinds, mad.MAD)
        return tuple(LAYERS[kind] for kind in kinds)

    def post_dissect(self, left: bytes) -> bytes:
        """Take pad and ICRC off the end, unless the packet was cut or lies about its lengths: then
        its bytes stay as they are.
        """
        row = opcode.BY_VALUE[self.opcode]
        below = self.underlayer
        said = [room(below) for kind, room in ROOM.items() if isinstance(below, kind)]
        tail = icrc.SIZE + self.pad_count
        there = self.kind.size + len(left)
        if row is None or row.size + tail > there or any(size > there for size in said):
            return left
        # With the cache scapy would put the packet together without `post_build`.
        self.raw_packet_cache = None
        self.fields["pad"] = left[-tail : -icrc.SIZE]
        self.fields["icrc"] = icrc.from_wire(left[-icrc.SIZE :])
        return left[:-tail]

    def post_build(self, built: bytes, payload: bytes) -> bytes:
        pad = self.pad if self.pad is not None else bytes(self.pad_count or 0)
        if self.pad is None and self.pad_count is None:
            pad = bytes(-len(payload) % 4)
        if self.pad_count is None:
            built = bth.BTH.parse(built).replace(pad_count=len(pad)).pack()
        transport = built + payload + pad
        value = self.icrc if self.icrc is not None else self.computed_icrc(transport)
        return transport + icrc.to_wire(value)

    def computed_icrc(self, transport: bytes) -> int:
        """The ICRC of `transport` (BTH to pad) over the layers below; 0 where there are none."""
        below = Raw(bytes(len(transport) + icrc.SIZE))
        layer = self.underlayer
        while layer is not None:
            below = layer.clone_with(below, **layer.fields)
            state = next((of for kind, of in STATES.items() if isinstance(layer, kind)), None)
            if state is not None:
                network = bytes(below)[: -len(transport) - icrc.SIZE]
                if isinstance(self.underlayer, UDP):
                    begun = icrc.udp_state(network[-8:], state(network[:-8]))
                else:
                    begun = state(network)
                return icrc.over_transport(transport, begun)
            layer = layer.underlayer
        return 0

    def mysummary(self) -> str:
        return f"{opcode.name(self.opcode)} QP {self.dest_qp:#x} PSN {self.psn}"


class Management(Layer):
    """MAD, which says what follows it."""

    def followers(self) -> tuple[Any, ...]:
        kinds = management.following(self.mgmt_class, self.attribute_id)
        return tuple(LAYERS[kind] for kind in kinds)


class Extent(Layer):
    """A header that says where what it carries ends."""

    def extract_padding(self, left: bytes) -> tuple[bytes, bytes]:
        reach = self.header().reach
        end = len(left) if reach is None else max(0, reach - self.kind.size)
        return left[:end], left[end:]


def layer(kind: type[Header], base: type[Layer] = Layer) -> Any:
    """The scapy layer of a declared header."""
    behind = [Behind("pad", None), Behind("icrc", None)] if base is Transport else []
    members = {
        "name": kind.__name__,
        "__doc__": kind.__doc__,
        "__module__": __name__,
        "kind": kind,
        "fields_desc": [*map(scapy_field, kind.fields), *behind],
    }
    return type(kind.__name__, (base,), members)


LRH = layer(lrh.LRH, Extent)
GRH = layer(grh.GRH, Extent)
BTH = layer(bth.BTH, Transport)
RDETH = layer(rdeth.RDETH)
DETH = layer(deth.DETH)
XRCETH = layer(xrceth.XRCETH)
RETH = layer(reth.RETH)
FETH = layer(feth.FETH)
AtomicETH = layer(atomiceth.AtomicETH)
AETH = layer(aeth.AETH)
AtomicAckETH = layer(atomicacketh.AtomicAckETH)
ImmDt = layer(immdt.ImmDt)
IETH = layer(ieth.IETH)
MAD = layer(mad.MAD, Management)
CM_REQ = layer(cm.CM_REQ)
CM_MRA = layer(cm.CM_MRA)
CM_REJ = layer(cm.CM_REJ)
CM_REP = layer(cm.CM_REP)
CM_RTU = layer(cm.CM_RTU)
CM_DREQ = layer(cm.CM_DREQ)
CM_DREP = layer(cm.CM_DREP)
CM_SIDR_REQ = layer(cm.CM_SIDR_REQ)
CM_SIDR_REP = layer(cm.CM_SIDR_REP)
IP_CM = layer(cm.IP_CM)
RMPP = layer(sa.RMPP)
SA = layer(sa.SA)
PathRecord = layer(sa.PathRecord)

LAYERS: dict[type[Header], Any] = {
    made.kind: made
    for made in list(vars().values())
    if isinstance(made, type) and issubclass(made, Layer) and made.kind is not Header
}
"""Declared header -> its layer."""

STATES = {
    IP: icrc.ipv4_state,
    IPv6: icrc.ipv6_state,
    GRH: icrc.ipv6_state,
    LRH: icrc.lrh_state,
}
"""Layer that the ICRC begins with -> the CRC state after it and what extends it."""

ROOM: dict[Any, Callable[[Any], int]] = {
    UDP: lambda below: below.len - 8,
    GRH: lambda below: below.payload_length,
    LRH: lambda below: 4 * below.packet_length - lrh.LRH.size,
}
"""Layer under BTH -> bytes from BTH to ICRC that it says there are."""

UNDER_V1 = {
    Ether: "type",
    Dot1Q: "type",
    Dot1AD: "type",
    CookedLinux: "proto",
    CookedLinuxV2: "proto",
    GRE: "proto",
}
"""Layers whose EtherType may be that of RoCEv1."""

LINK_TYPE_INFINIBAND = 247


def bindings(port: int = ROCE_PORT) -> list[tuple[Any, Any, dict[str, int]]]:
    """(lower layer, upper layer, values of the lower one's fields)."""
    return [
        (UDP, BTH, {"dport": port}),
        *((lower, GRH, {field: ETHERTYPE_ROCE_V1}) for lower, field in UNDER_V1.items()),
        (GRH, BTH, {"next_header": grh.NEXT_HEADER_IBA}),
        (LRH, BTH, {"lnh": lrh.NEXT_BTH}),
        (LRH, GRH, {"lnh": lrh.NEXT_GRH}),
    ]


def bind(port: int = ROCE_PORT) -> None:
    """Dissect RoCEv2 on UDP destination `port`, and RoCEv1, by these layers before any other."""
    unbind(port)
    for lower, upper, values in bindings(port):
        lower.payload_guess = [(values, upper), *lower.payload_guess]
        bind_top_down(lower, upper, **values)
    conf.l2types.register(LINK_TYPE_INFINIBAND, LRH)


def unbind(port: int = ROCE_PORT) -> None:
    """Leave dissecting to other layers; building goes on."""
    for lower, upper, values in bindings(port):
        lower.payload_guess = [one for one in lower.payload_guess if one != (values, upper)]


bind()
