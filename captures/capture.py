"""A capture file opened: its frames, interfaces, secrets and damage, whatever the format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from captures import erf, pcap, pcapng
from captures.model import CaptureError, Contents, Damage, Frame, Interface
from captures.stream import Stream, open_stream
from dissectors.udp import ROCE_PORT

if TYPE_CHECKING:
    from dissectors.table import PacketTable

Result = TypeVar("Result")
Reader = Callable[[Stream, Contents], Iterator[Frame]]

# First bytes of the (decompressed) file -> reader.
FORMATS: dict[bytes, Reader] = {
    **dict.fromkeys(pcap.MAGICS, pcap.read),
    b"\x0a\x0d\x0d\x0a": pcapng.read,
}


def find_reader(stream: Stream) -> Reader:
    """The reader for the format of `stream`; raises CaptureError where there is none."""
    head = stream.peek(4)
    if head in FORMATS:
        return FORMATS[head]
    if erf.looks_like(stream):
        return erf.read
    found = f"bytes {head.hex(' ')}" if head else "an empty file"
    if stream.failure:
        found += f" ({stream.failure})"
    raise CaptureError(
        stream.file,
        0,
        "a pcap, pcapng or ERF file (or one compressed by gzip, zstd or xz)",
        found,
        "convert other formats with editcap",
    )


class Capture:
    """A capture file. Reading is lazy: a file of any size is opened at once.

    `secrets`, `damage` and `interfaces` are of the whole file: asked for before it was read
    through, they read it through (standard input, which can be read once, gives what was seen).
    """

    def __init__(self, path: str | Path) -> None:
        self.file = str(path)
        stream = open_stream(path)
        try:
            self.reader = find_reader(stream)
        except CaptureError:
            stream.close()
            raise
        # A file is opened anew for each reading; standard input has only this one.
        self._once = stream if self.file == "-" else None
        if self._once is None:
            stream.close()
        self._seen = Contents()
        self._complete = False

    def take(self) -> Stream:
        """The file's bytes from the start; raises CaptureError for a second time on stdin."""
        if self.file != "-":
            return open_stream(self.file)
        if self._once is None:
            raise CaptureError(
                "standard input", 0, "a first reading", "a second", "write it to a file first"
            )
        stream, self._once = self._once, None
        return stream

    def frames(self) -> Iterator[Frame]:
        """Frames in file order, from the start at each call; raises CaptureError as `open` does."""
        with self.take() as stream:
            yield from self.reader(stream, self.begin())
        self.end()

    def _whole(self) -> Contents:
        if not self._complete and self.file != "-":
            for _ in self.frames():
                pass
        return self._seen

    @property
    def secrets(self) -> str:
        """TLS key log lines of the decryption secrets blocks, "" where there are none."""
        return "".join(self._whole().secrets)

    @property
    def damage(self) -> tuple[Damage, ...]:
        """What was wrong with the file and where; empty for a sound one."""
        return tuple(self._whole().damage)

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """Interfaces in the order the file describes them; `Frame.interface` indexes this."""
        return tuple(self._seen.interfaces or self._whole().interfaces)

    @property
    def seen_damage(self) -> tuple[Damage, ...]:
        """As `damage`, of what the latest reading came to: nothing is read for it."""
        return tuple(self._seen.damage)

    def table(self, roce_port: int = ROCE_PORT) -> PacketTable:
        """All packets as columns. The file must not be cut short while the table is in use."""
        # Imported here: an endpoint inside a bare guest reads runs without numpy.
        from captures import tables  # noqa: PLC0415

        return tables.whole(self, roce_port)

    def tables(self, roce_port: int = ROCE_PORT) -> Iterator[PacketTable]:
        """All packets as columns, in tables of bounded size: for files larger than memory.

        None of them is empty; of an empty capture there is none.
        """
        return self.each(lambda table: table, roce_port)

    def each(
        self, use: Callable[[PacketTable], Result], roce_port: int = ROCE_PORT
    ) -> Iterator[Result]:
        """What `use` makes of each of `tables`, in order. It may be called in several threads."""
        from captures import tables  # noqa: PLC0415

        return tables.parts(self, roce_port, use)

    def begin(self) -> Contents:
        """Contents that a reading begun elsewhere fills, and which count from now on."""
        self._seen, self._complete = Contents(), False
        return self._seen

    def end(self) -> None:
        """The reading begun last came to the end of the file."""
        self._complete = True

    def close(self) -> None:
        """Give standard input up unread; files are closed by each reading itself."""
        if self._once is not None:
            self._once.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def open(path: str | Path) -> Capture:  # noqa: A001 - captures.open reads best
    """Open a capture: pcap, pcapng or ERF, plain or compressed by gzip, zstd or xz; "-" is stdin.

    Raises CaptureError for what cannot be opened or is no capture; damage further on does not
    raise but stands in `Capture.damage`.
    """
    return Capture(path)
