"""Numbers of devices and ports in words (the functions of pyverbs.device)."""

from __future__ import annotations

from collections.abc import Mapping

from lab.verbs import libibverbs_enums as e
from lab.verbs.utils import MTU_BYTES

_GID_TYPES = {
    e.IBV_GID_TYPE_IB: "IB",
    e.IBV_GID_TYPE_ROCE_V1: "RoCEv1",
    e.IBV_GID_TYPE_ROCE_V2: "RoCEv2",
}
_TRANSPORTS = {0: "IB", 1: "IWARP", 2: "USNIC", 3: "USNIC UDP"}
_NODES = {1: "CA", 2: "Switch", 3: "Router", 4: "RNIC", 5: "USNIC", 6: "USNIC UDP"}
_PORT_STATES = {0: "NOP", 1: "Down", 2: "Init", 3: "Armed", 4: "Active", 5: "Defer"}
_LINK_LAYERS = {0: "Unspecified", 1: "InfiniBand", 2: "Ethernet"}
_PHYSICAL = {
    1: "Sleep",
    2: "Polling",
    3: "Disabled",
    4: "Port configuration training",
    5: "Link up",
    6: "Link error recovery",
    7: "Phy test",
}
_WIDTHS = {1: "1X", 2: "4X", 4: "8X", 8: "12X", 16: "2X"}
_SPEEDS = {
    0: "0.0 Gbps",
    1: "2.5 Gbps",
    2: "5.0 Gbps",
    4: "5.0 Gbps",
    8: "10.0 Gbps",
    16: "14.0 Gbps",
    32: "25.0 Gbps",
    64: "50.0 Gbps",
    128: "100.0 Gbps",
    256: "200.0 Gbps",
}


def _numbered(names: Mapping[int, object], value: int, otherwise: str) -> str:
    return f"{names[value]} ({value})" if value in names else otherwise


def translate_gid_type(gid_type: int) -> str:
    return _GID_TYPES.get(e.ibv_gid_type(gid_type), f"Unknown gid_type ({gid_type})")


def translate_transport_type(transport_type: int) -> str:
    return _TRANSPORTS.get(transport_type, "Unknown")


def translate_node_type(node_type: int) -> str:
    return _NODES.get(node_type, "Unknown")


def port_state_to_str(port_state: int) -> str:
    return _numbered(_PORT_STATES, port_state, f"Invalid state ({port_state})")


def translate_mtu(mtu: int) -> str:
    return _numbered(MTU_BYTES, mtu, f"Invalid MTU ({mtu})")


def translate_link_layer(ll: int) -> str:
    return _LINK_LAYERS.get(ll, f"Invalid link layer ({ll})")


def phys_state_to_str(phys: int) -> str:
    return _numbered(_PHYSICAL, phys, "Invalid physical state")


def width_to_str(width: int) -> str:
    return _numbered(_WIDTHS, width, "Invalid width")


def speed_to_str(active_speed: int, active_speed_ex: int) -> str:
    return _numbered(_SPEEDS, active_speed_ex or active_speed, "Invalid speed")


def str_from_flags(flags: int, dictionary: Mapping[int, str]) -> str:
    """The names of the set bits, a line each."""
    return "\n  " + "".join(f"{name}\n  " for bit, name in dictionary.items() if flags & bit)


def translate_port_cap_flags(flags: int) -> str:
    return str_from_flags(flags, {flag: str(flag.name) for flag in e.ibv_port_cap_flags})


def translate_port_cap_flags2(flags: int) -> str:
    return str_from_flags(flags, {flag: str(flag.name) for flag in e.ibv_port_cap_flags2})


def translate_device_caps(flags: int) -> str:
    return str_from_flags(flags, {flag: str(flag.name) for flag in e.ibv_device_cap_flags})


def translate_event_type(event_type: int) -> str:
    if event_type in set(e.ibv_event_type):
        return e.ibv_event_type(event_type).name
    return f"Unknown event_type ({event_type})"


def guid_format(num: int) -> str:
    """A GUID in network byte order as 4 words of 4 hexadecimal digits."""
    return num.to_bytes(8, "little").hex(":", 2)


def guid_to_hex(node_guid: int) -> str:
    return f"{node_guid:x}"
