"""Passes TCP connections on and records them, where nobody may capture.

    python -m lab.recorder.relay CLIENT_ADDRESS SERVER_ADDRESS PORT FILE.pcapng

Listens at the client's own address and port PORT; whatever connects there is connected to the
server's, from the client's address. The bytes recorded are those that passed (of TLS: ciphertext;
the relay has no key); the TCP and IP headers around them are rebuilt, as of a connection straight
from the client to the server. Says `listening on` on standard error when it does, and ends on
SIGINT when all connections have ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from pathlib import Path

from captures.pcapng_writer import Writer
from lab.recorder.tcp import Connection, Side

_CHUNK = 65536
_LISTEN_BACKLOG = 1024


class Relay:
    """Connections from one address to one server, recorded by `writer`."""

    def __init__(self, client: str, server: str, port: int, writer: Writer) -> None:
        self.client, self.server, self.port, self.writer = client, server, port, writer
        self.live: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from its beginning to its end."""
        task = asyncio.current_task()
        assert task is not None
        self.live.add(task)
        try:
            with contextlib.suppress(OSError):
                await self._pass_on(reader, writer)
        finally:
            writer.close()
            self.live.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward_writer = await asyncio.open_connection(
            self.server, self.port, local_addr=(self.client, 0)
        )
        local_port = onward_writer.get_extra_info("sockname")[1]
        connection = Connection(Side(self.client, local_port), Side(self.server, self.port))
        self._record(connection.opened())
        try:
            await asyncio.gather(
                self._copy(connection, 0, reader, onward_writer),
                self._copy(connection, 1, onward_reader, writer),
            )
        finally:
            onward_writer.close()

    async def _copy(
        self,
        connection: Connection,
        sender: int,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
    ) -> None:
        try:
            while data := await source.read(_CHUNK):
                self._record(connection.data(sender, data))
                target.write(data)
                await target.drain()
        except OSError:
            target.transport.abort()  # a reset on one side is a reset on the other
        self._record(connection.closed(sender))
        with contextlib.suppress(OSError, RuntimeError):
            target.write_eof()

    def _record(self, frames: list[bytes]) -> None:
        for frame in frames:
            self.writer.packet(frame, time.time_ns())


async def relay(client: str, server: str, port: int, writer: Writer) -> None:
    """Relay until SIGINT, then until the last connection has ended."""
    relayed = Relay(client, server, port, writer)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stopping.set)
    listener = await asyncio.start_server(relayed.serve, client, port, backlog=_LISTEN_BACKLOG)
    sys.stderr.write(f"listening on {client} port {port}\n")
    sys.stderr.flush()
    await stopping.wait()
    listener.close()
    if relayed.live:
        await asyncio.wait(relayed.live)


def main() -> None:
    """Open the file, relay."""
    client, server, port, path = sys.argv[1:]
    with Path(path).open("wb", buffering=0) as stream:
        writer = Writer(stream)
        writer.interface("relay", description="TLS bytes as passed on; headers rebuilt")
        try:
            asyncio.run(relay(client, server, int(port), writer))
        except OSError as error:
            sys.exit(f"relay: {error.strerror or error}")


if __name__ == "__main__":
    main()
