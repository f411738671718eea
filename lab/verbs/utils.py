"""Values in words (pyverbs.utils)."""

from __future__ import annotations

from lab.engine.states import QPState, QPType
from lab.verbs.pyverbs_error import PyverbsUserError

MTU_BYTES = {1: 256, 2: 512, 3: 1024, 4: 2048, 5: 4096}
_STATES = ("Reset", "Init", "RTR", "RTS", "SQD", "SQE", "Error", "Unknown")
_ACCESS = ("Local write", "Remote write", "Remote read", "Remote atomic", "MW bind", "Zero based")


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


def qp_type_to_str(qp_type: int) -> str:
    names = {int(kind): kind.name for kind in QPType}
    return names.get(qp_type, f"Unknown ({qp_type})")


def qp_state_to_str(qp_state: int) -> str:
    known = 0 <= qp_state <= QPState.ERR + 1
    return _STATES[qp_state] if known else f"Unknown ({qp_state})"


def mtu_to_str(mtu: int) -> int:
    return MTU_BYTES.get(mtu, 0)


def access_flags_to_str(flags: int) -> str:
    return "".join(f"{name} " for bit, name in enumerate(_ACCESS) if flags >> bit & 1)
