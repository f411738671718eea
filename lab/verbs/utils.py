"""Values in words (pyverbs.utils)."""

from __future__ import annotations

from lab.engine.states import QPState
from lab.verbs import libibverbs_enums as e
from lab.verbs.pyverbs_error import PyverbsUserError

MTU_BYTES = {1: 256, 2: 512, 3: 1024, 4: 2048, 5: 4096}
_STATES = ("Reset", "Init", "RTR", "RTS", "SQD", "SQE", "Error", "Unknown")
_ACCESS = (
    "Local write",
    "Remote write",
    "Remote read",
    "Remote atomic",
    "MW bind",
    "Zero based",
    "On demand",
)
_TYPES = {
    2: "RC",
    3: "UC",
    4: "UD",
    8: "Raw Packet",
    9: "XRCD_SEND",
    10: "XRCD_RECV",
    0xFF: "Driver QP",
}
_MIGRATION = {0: "Migrated", 1: "Re-arm", 2: "Armed"}


def gid_str_to_array(val: str) -> list[str]:
    """The 16 bytes, two hexadecimal digits each, of a GID in the form of 8 words of 4 digits."""
    words = val.split(":")
    if len(words) != 8 or any(len(word) != 4 for word in words):
        raise PyverbsUserError(f"Invalid GID value ({val})")
    digits = "".join(words)
    return [digits[i : i + 2] for i in range(0, 32, 2)]


def gid_bytes(val: str) -> bytes:
    """A GID's 16 bytes."""
    try:
        return bytes.fromhex("".join(gid_str_to_array(val)))
    except ValueError:
        raise PyverbsUserError(f"Invalid GID value ({val})") from None


def gid_text(raw: bytes) -> str:
    """8 words of 4 hexadecimal digits, never shortened."""
    return raw.hex(":", 2)


def be64toh(num: int) -> int:
    """A number's 8 bytes the other way round."""
    return int.from_bytes(num.to_bytes(8, "big"), "little")


def gid_str(subnet_prefix: int, interface_id: int) -> str:
    """A GID's text from its halves in network byte order."""
    return gid_text(b"".join(half.to_bytes(8, "little") for half in (subnet_prefix, interface_id)))


def mig_state_to_str(mig: int) -> str:
    return _MIGRATION.get(mig, f"Unknown ({mig})")


def rereg_error_to_str(error: int) -> str:
    codes = {int(code): code.name for code in e.ibv_rereg_mr_err_code}
    return codes.get(error, f"Unknown error ({error})")


def qp_type_to_str(qp_type: int) -> str:
    return _TYPES.get(qp_type, f"Unknown ({qp_type})")


def qp_state_to_str(qp_state: int) -> str:
    known = 0 <= qp_state <= QPState.ERR + 1
    return _STATES[qp_state] if known else f"Unknown ({qp_state})"


def mtu_to_str(mtu: int) -> int:
    return MTU_BYTES.get(mtu, 0)


def access_flags_to_str(flags: int) -> str:
    return "".join(f"{name} " for bit, name in enumerate(_ACCESS) if flags >> bit & 1)
