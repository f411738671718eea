"""What a capture holds: frames, interfaces, and what was wrong with the file."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_FRAME = 262_144
"""Largest frame believed, bytes (libpcap's and Wireshark's limit): a longer one is damage."""

TIME_LIMIT = 2**63 - 1
NANOSECONDS = 1_000_000_000


class CaptureError(Exception):
    """A file that cannot be read at all; the message says where, expected, found, what to do."""

    def __init__(self, file: str, offset: int, expected: str, found: str, advice: str) -> None:
        super().__init__(
            f"{file}: at offset {offset}: expected {expected}, found {found}; {advice}"
        )
        self.file = file
        self.offset = offset
        self.expected = expected
        self.found = found
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Damage:
    """A place where the file stops making sense; every frame before it has been kept.

    `offset` is in bytes from the start of the (decompressed) file.
    """

    offset: int
    message: str

    def __str__(self) -> str:
        return f"at offset {self.offset}: {self.message}"


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface of a capture. `link_type` is a LINKTYPE_ number (1 = Ethernet).

    A frame's time is `ticks / ticks_per_second + offset_seconds` since 1970. `received` and
    `dropped` are packet counts of the capturing program, None where not recorded.
    """

    link_type: int
    name: str = ""
    description: str = ""
    filter: str = ""
    snap_length: int = 0
    ticks_per_second: int = 1_000_000
    offset_seconds: int = 0
    received: int | None = None
    dropped: int | None = None

    def time_ns(self, ticks: int) -> int:
        """Nanoseconds since 1970, held within what an int64 column can hold.

        A mangled file may claim any time, so the result saturates.
        """
        time_ns = ticks * NANOSECONDS // self.ticks_per_second + self.offset_seconds * NANOSECONDS
        return max(-TIME_LIMIT - 1, min(time_ns, TIME_LIMIT))


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured frame.

    `number` counts from 1; `time_ns` is UTC nanoseconds since 1970; `original_length` is the
    frame's length on the wire (`data` may be cut shorter); `interface` indexes
    `Capture.interfaces`; `offset` is where `data` starts in the (decompressed) file.
    """

    number: int
    time_ns: int
    data: bytes
    original_length: int
    interface: int
    link_type: int
    offset: int
    comment: str = ""


MAX_INTERFACES = 1 << 16
MAX_SECRETS = 1 << 26
MAX_DAMAGE = 1000
MAX_TEXT = 1000
"""Interfaces, characters of secrets, places of damage, and characters of a name kept of one file,
which could fill memory otherwise. What is left out is damage, but for the ends of long names.
"""


@dataclass(slots=True)
class Contents:
    """What one reading of a file found beside its frames; readers fill it as they go."""

    interfaces: list[Interface] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)

    def add_damage(self, offset: int, message: str) -> None:
        """Note that the file does not make sense at `offset`."""
        if len(self.damage) == MAX_DAMAGE:
            self.damage.append(Damage(offset, "more damage, not noted from here on"))
        elif len(self.damage) < MAX_DAMAGE:
            self.damage.append(Damage(offset, message))

    def add_interface(self, interface: Interface, offset: int) -> None:
        """Keep the interface described at `offset`."""
        if len(self.interfaces) == MAX_INTERFACES:
            self.add_damage(offset, f"expected at most {MAX_INTERFACES} interfaces, found more")
        else:
            self.interfaces.append(interface)

    def add_secrets(self, text: str, offset: int) -> None:
        """Keep TLS secrets that stand at `offset`."""
        if sum(map(len, self.secrets)) + len(text) > MAX_SECRETS:
            self.add_damage(
                offset, f"expected at most {MAX_SECRETS} characters of secrets, found more"
            )
        else:
            self.secrets.append(text)
