"""pcapng files, written: what Wireshark needs to open a capture and decrypt it unasked."""

from __future__ import annotations

import struct
from typing import BinaryIO

from captures.model import MAX_FRAME

SECRETS_CHUNK = 1 << 20

Options = list[tuple[int, bytes]]


def _options(options: Options) -> bytes:
    if not options:
        return b""
    parts = [
        struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)
        for code, value in options
    ]
    return b"".join(parts) + bytes(4)


def _texts(options: dict[int, str]) -> Options:
    # An option's length is 16 bits; a character cut in two at the end is dropped.
    return [
        (code, text.encode()[:65535].decode("utf-8", "ignore").encode())
        for code, text in options.items()
        if text
    ]


class Writer:
    """Writes one section, little-endian, nanoseconds, to a binary stream, which it does not close.

    Order matters: `interface` before its packets, `secrets` before the packets they decrypt.
    """

    def __init__(
        self,
        stream: BinaryIO,
        *,
        application: str = "rocelab",
        hardware: str = "",
        system: str = "",
        comment: str = "",
    ) -> None:
        self._stream = stream
        self._interfaces = 0
        self.packets = 0
        """Packets written so far."""
        options = _texts({1: comment, 2: hardware, 3: system, 4: application})
        self._block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1), options)

    def _block(self, kind: int, body: bytes, options: Options) -> None:
        tail = _options(options)
        total = 12 + len(body) + len(tail)
        self._stream.write(
            b"".join((struct.pack("<II", kind, total), body, tail, struct.pack("<I", total)))
        )

    def interface(
        self,
        name: str = "",
        *,
        link_type: int = 1,
        snap_length: int = 0,
        filter: str = "",  # noqa: A002 - the format's own word
        description: str = "",
    ) -> int:
        """Describe an interface; its number, for `packet` and `statistics`. 0 = no snap length."""
        options = _texts({2: name, 3: description})
        options += [(9, b"\x09")]
        options += [(11, b"\0" + text) for _, text in _texts({11: filter})]
        self._block(1, struct.pack("<HHI", link_type, 0, snap_length), options)
        self._interfaces += 1
        return self._interfaces - 1

    def secrets(self, key_log: str) -> None:
        """Write the lines of a TLS key log (NSS format) as decryption secrets blocks.

        Raises ValueError after the first packet: a reader decrypts only what comes later.
        """
        if self.packets:
            raise ValueError("expected the secrets before the first packet, found them after it")
        chunk: list[str] = []
        size = 0
        for line in [*key_log.splitlines(keepends=True), None]:
            if chunk and (line is None or size + len(line) > SECRETS_CHUNK):
                data = "".join(chunk).encode()
                body = struct.pack("<II", 0x544C534B, len(data)) + data + bytes(-len(data) % 4)
                self._block(10, body, [])
                chunk, size = [], 0
            if line is not None:
                chunk.append(line)
                size += len(line)

    def packet(
        self,
        data: bytes,
        time_ns: int,
        *,
        interface: int = 0,
        original_length: int | None = None,
        comment: str = "",
        flags: int | None = None,
    ) -> None:
        """Append one frame; `time_ns` is UTC nanoseconds since 1970, not before it.

        `flags` is the word of the draft's section 4.3.1: bits 0-1 are 1 inbound, 2 outbound.
        Raises ValueError for an interface not described, or a frame over 262144 bytes.
        """
        if interface >= self._interfaces:
            raise ValueError(f"expected an interface below {self._interfaces}, found {interface}")
        if len(data) > MAX_FRAME:
            raise ValueError(f"expected at most {MAX_FRAME} bytes, found {len(data)}")
        length = len(data) if original_length is None else original_length
        high, low = divmod(time_ns, 1 << 32)
        body = struct.pack("<IIIII", interface, high, low, len(data), length)
        options = _texts({1: comment})
        if flags is not None:
            options.append((2, struct.pack("<I", flags)))
        self._block(6, body + data + bytes(-len(data) % 4), options)
        self.packets += 1

    def statistics(
        self,
        *,
        time_ns: int,
        interface: int = 0,
        received: int | None = None,
        dropped: int | None = None,
    ) -> None:
        """Say how many packets the capturing program received and lost, after the last packet."""
        counts = [(4, received), (5, dropped)]
        options = [(code, struct.pack("<Q", n)) for code, n in counts if n is not None]
        high, low = divmod(time_ns, 1 << 32)
        self._block(5, struct.pack("<III", interface, high, low), options)
