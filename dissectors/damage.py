"""What keeps a frame from being read to its end."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class DamageCode(IntEnum):
    """Kinds of damage; the values are those of PacketTable's `damage` column."""

    NONE = 0
    CUT = 1
    """The frame was captured with fewer bytes than it had (snap length)."""
    FRAGMENT = 2
    """A part of an IP datagram: what it carries cannot be told from it alone."""
    LENGTH = 3
    """A length field, or what must follow a header, exceeds the bytes there are."""
    VALUE = 4
    """A header contradicts itself or its place."""
    OPCODE = 5
    """A BTH opcode that the standard does not assign."""
    PAD = 6
    """Pad count and ICRC exceed what is left."""


class Damage(NamedTuple):
    """A kind and a sentence with the offset in the frame; `str()` gives the sentence."""

    code: DamageCode
    text: str

    def __str__(self) -> str:
        return self.text
