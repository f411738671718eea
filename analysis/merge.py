"""Captures of one link taken at both ends, put together as one.

A packet that both files hold is taken once; one that only one holds (lost on its way to the other)
is put where its time says, after the difference of the two clocks, taken from the packets that both
hold, is allowed for. Packets are the same if they are equal from the IP header on, but for what
routers change; the n-th of several equal ones in one file is the n-th in the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import captures
from captures.model import Damage, Frame, Interface
from dissectors.arp import ARP
from dissectors.ethernet import VLAN, Ethernet
from dissectors.ip import IPv4, IPv6
from dissectors.packet import Packet
from dissectors.table import PacketTable

LINK = (Ethernet, VLAN)
Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class MergedCapture:
    """What `captures.Capture` offers, for several files; frames are numbered anew in time order."""

    file: str
    secrets: str
    damage: tuple[Damage, ...]
    interfaces: tuple[Interface, ...]
    merged: tuple[Frame, ...]
    note: str

    def frames(self) -> Iterator[Frame]:
        """Frames in order of time."""
        return iter(self.merged)

    def table(self) -> PacketTable:
        """All packets as columns."""
        return PacketTable.from_frames(self.merged)


AnyCapture = captures.Capture | MergedCapture
"""One file or several."""


def merge(paths: Sequence[Path]) -> MergedCapture:
    """Put the captures `paths` together; raises CaptureError for one that cannot be read."""
    sources = [captures.open(path) for path in paths]
    frames = list(sources[0].frames())
    interfaces = list(sources[0].interfaces)
    damage = list(sources[0].damage)
    notes = []
    for path, source in zip(paths[1:], sources[1:], strict=True):
        others = [
            replace(frame, interface=frame.interface + len(interfaces)) for frame in source.frames()
        ]
        interfaces += source.interfaces
        damage += source.damage
        frames, note = _joined(frames, others)
        notes.append(f"{path.name}: {note}")
    numbered = tuple(replace(frame, number=n) for n, frame in enumerate(frames, 1))
    return MergedCapture(
        file=" + ".join(str(path) for path in paths),
        secrets="".join(source.secrets for source in sources),
        damage=tuple(damage),
        interfaces=tuple(interfaces),
        merged=numbered,
        note="; ".join(notes),
    )


def _joined(frames: list[Frame], others: list[Frame]) -> tuple[list[Frame], str]:
    """`frames` with what `others` have beyond them, in order of time, and what was found."""
    seen = dict(_occurrences(frames))
    twins: list[int] = []
    alone: list[Frame] = []
    for key, frame in _occurrences(others):
        twin = seen.get(key)
        if twin is None:
            alone.append(frame)
        else:
            twins.append(frame.time_ns - twin.time_ns)
    ahead = round(median(twins)) if twins else 0
    shifted = [replace(frame, time_ns=frame.time_ns - ahead) for frame in alone]
    note = f"{len(twins)} packets are in both, {len(alone)} in this file alone"
    clock = f"its clock is {ahead / 1e6:+.3f} ms off" if twins else "clocks taken as they are"
    return sorted([*frames, *shifted], key=lambda f: f.time_ns), f"{note}, {clock}"


def _occurrences(frames: list[Frame]) -> Iterator[tuple[tuple[Key, int], Frame]]:
    """Each frame with what it is and how many equal ones came before it."""
    count: Counter[Key] = Counter()
    for frame in frames:
        key = _identity(frame)
        count[key] += 1
        yield (key, count[key]), frame


def _identity(frame: Frame) -> Key:
    packet = Packet.parse(frame.data, frame.link_type, frame.original_length)
    if not any(kind in packet for kind in (IPv4, IPv6, ARP)):
        return (frame.data,)
    headers = tuple(_fixed(h) for h in packet.headers if not isinstance(h, LINK))
    return (headers, packet.payload, packet.pad, packet.icrc)


def _fixed(header: object) -> bytes:
    """A header's bytes without what routers change on the way."""
    if isinstance(header, IPv4):
        return header.replace(ttl=0, checksum=0, dscp=0, ecn=0).pack()
    if isinstance(header, IPv6):
        return header.replace(hop_limit=0, traffic_class=0, flow_label=0).pack()
    return header.pack()  # type: ignore[attr-defined, no-any-return]
