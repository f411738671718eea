"""The second witness: tshark, asked through pyshark.

It decrypts the TLS bytes that the capture holds, with a key log, and reads BTH of chosen packets.
pyshark takes over a millisecond a packet, so only the frames in question are copied, byte for byte,
into a temporary capture for it. It runs in an event loop of its own in a thread of its own, because
pyshark breaks inside a running one (notebooks).
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyshark
from pyshark.capture.capture import TSharkCrashException
from pyshark.tshark.tshark import TSharkNotFoundException, get_process_path

from analysis.merge import AnyCapture
from analysis.streams import Stream
from captures.pcapng_writer import Writer

TIMEOUT = 120
"""Seconds tshark may take for one question."""
GRACE = 5
EXCHANGE_LIMIT = 24
"""Frames of a TLS stream that are always decrypted: parameters are exchanged at its start."""
EXCHANGE_BUDGET = 1200
"""Frames decrypted of all streams together beyond that."""


class NoWitness(Exception):  # noqa: N818 (an absence, not an error)
    """tshark cannot answer: not installed, or it failed; the text says why."""


@dataclass(frozen=True, slots=True)
class SeenBTH:
    """What tshark read in the Base Transport Header of a frame."""

    opcode: int
    dest_qp: int
    psn: int


class _Tshark(pyshark.FileCapture):  # type: ignore[misc]  # pyshark is untyped
    """Lets tshark end by itself: pyshark kills it at end of file and takes that for a crash."""

    def __del__(self) -> None:
        """Not what pyshark does: it would use the event loop, which may be closed by then."""

    async def _cleanup_subprocess(self, process: Any) -> None:
        try:
            status = await asyncio.wait_for(process.wait(), GRACE)
        except TimeoutError:
            process.kill()
            await process.wait()
            return
        if status:
            await asyncio.gather(*self._stderr_handling_tasks)
            raise TSharkCrashException(f"status {status}: {self._last_error_line}")


@dataclass(frozen=True, slots=True)
class Evidence:
    """The packets tshark is asked about: a capture and its table."""

    capture: AnyCapture
    table: Any

    def decrypted(
        self, streams: Sequence[Stream], key_log: str
    ) -> dict[int, list[tuple[int, bytes]]]:
        """The application bytes of TLS `streams`: (frame, bytes) in order, by stream number.

        A stream that the key log does not decrypt has an empty list. Raises NoWitness.
        """
        ports = sorted({stream.server[1] for stream in streams})
        limit = max(EXCHANGE_LIMIT, EXCHANGE_BUDGET // max(1, len(streams)))
        packets = self._ask(
            frames=[frame for stream in streams for frame in opening(stream, limit)],
            key_log=key_log,
            display_filter="tls.app_data",
            decode_as={
                **{f"tcp.port=={port}": "tls" for port in ports},
                **{f"tls.port=={port}": "data" for port in ports},
            },
        )
        stream_of = {frame: stream.number for stream in streams for frame in stream.frames}
        found: dict[int, list[tuple[int, bytes]]] = {stream.number: [] for stream in streams}
        for frame, packet in packets:
            for layer in packet.layers:
                data = layer.get_field("data_data")
                if layer.layer_name.lower() == "data" and data is not None:
                    found[stream_of[frame]].append((frame, bytes.fromhex(data.raw_value)))
        return found

    def bth(self, frames: Iterable[int]) -> dict[int, SeenBTH]:
        """BTH of each of `frames` as tshark reads it. Raises NoWitness."""
        packets = self._ask(
            frames=frames,
            display_filter="infiniband.bth",
            decode_as={"udp.port==4791": "infiniband"},
        )
        return {
            frame: SeenBTH(
                *(
                    int(packet.infiniband.get_field(f"bth_{name}").raw_value, 16)
                    for name in ("opcode", "destqp", "psn")
                )
            )
            for frame, packet in packets
        }

    def _ask(
        self,
        frames: Iterable[int],
        display_filter: str,
        decode_as: Mapping[str, str],
        key_log: str = "",
    ) -> list[tuple[int, Any]]:
        """Frame number and pyshark packet of each of `frames` that passes `display_filter`."""
        numbers = sorted(set(frames))
        if not numbers:
            return []
        try:
            get_process_path()
        except TSharkNotFoundException:
            raise NoWitness("tshark is not installed") from None
        with tempfile.TemporaryDirectory(prefix="rocelab-") as folder:
            path = Path(folder, "evidence.pcapng")
            self._copy(numbers, path, key_log)
            with ThreadPoolExecutor(1) as thread:
                packets = thread.submit(_run, path, display_filter, dict(decode_as)).result()
        return [(numbers[int(packet.number) - 1], packet) for packet in packets]

    def _copy(self, numbers: list[int], path: Path, key_log: str) -> None:
        rows = np.searchsorted(self.table["frame"], numbers)
        interface, time_ns = self.table["interface"], self.table["time_ns"]
        length = self.table["original_length"]
        with path.open("wb") as stream:
            writer = Writer(stream)
            for known in self.capture.interfaces:
                writer.interface(link_type=known.link_type)
            writer.secrets(key_log)
            for row in rows.tolist():
                writer.packet(
                    bytes(self.table.frame_bytes(row)),
                    max(0, int(time_ns[row])),
                    interface=int(interface[row]),
                    original_length=int(length[row]),
                )


def opening(stream: Stream, limit: int) -> list[int]:
    """The first `limit` frames that carry bytes of a stream."""
    return sorted({*stream.from_client.frames, *stream.from_server.frames})[:limit]


def _run(path: Path, display_filter: str, decode_as: dict[str, str]) -> list[Any]:
    packets: list[Any] = []

    async def ask() -> None:
        tshark = _Tshark(
            str(path),
            display_filter=display_filter,
            decode_as=decode_as,
            eventloop=asyncio.get_running_loop(),
            custom_parameters=["-J", "frame data infiniband"],
        )
        await asyncio.wait_for(tshark.packets_from_tshark(packets.append), TIMEOUT)

    try:
        asyncio.run(ask())
    except (TimeoutError, TSharkCrashException, OSError) as error:
        raise NoWitness(f"tshark failed: {error or 'it took too long'}") from error
    return packets
