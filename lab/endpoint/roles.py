"""The server, which waits, and the client, which calls. Their `run` returns when all is over."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from typing import Any

from lab.endpoint.process import Process
from lab.exchange.messages import ExchangeError, Hello
from lab.exchange.server import Server
from lab.exchange.tls import Channel, connect


def say(event: str, **keys: Any) -> None:
    """One line of JSON on standard output, for whoever started this process."""
    sys.stdout.write(json.dumps({"event": event, **keys}) + "\n")
    sys.stdout.flush()


class Serving:
    """Serves `clients` connections, whatever else may connect; with 0, until stopped."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._numbers: set[int] = set()
        self._lock = threading.Lock()
        config = process.config
        self._server = Server(
            config.address,
            process.tls,
            self._serve,
            self._refused,
            port=config.port,
            limits=process.limits,
        )

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return self._server.port

    def run(self) -> None:
        """Say that the port is open, then serve."""
        say("listening", address=self._process.config.address, port=self.port)
        self._server.run()

    def finish(self) -> None:
        """Serve those being served, then end."""
        self._server.finish()

    def stop(self) -> None:
        """End now; may be called from a signal handler."""
        self._server.stop()

    def _serve(self, channel: Channel, hello: Hello) -> None:
        process = self._process
        scenario = process.config.scenario
        if hello.scenario != scenario:
            raise ExchangeError(
                "scenario", f"expected scenario {scenario!r}, found {hello.scenario!r}"
            )
        self._claim(hello.connection)
        try:
            channel.send(process.hello(hello.connection))
            process.converse(channel, hello)
        finally:
            clients = process.config.clients
            if not clients or hello.connection not in process.negotiated:
                self._numbers.discard(hello.connection)  # it may come again
            if clients and process.ended >= clients:
                self._server.finish()

    def _claim(self, number: int) -> None:
        """Each number once: both ends' logs name a connection by it."""
        clients = self._process.config.clients
        with self._lock:
            if number in self._numbers or (clients and number >= clients):
                raise ExchangeError(
                    "connection",
                    f"expected a connection number not yet used and below {clients or 'any'}, "
                    f"found {number}",
                )
            self._numbers.add(number)

    def _refused(self, peer: str, error: ExchangeError) -> None:
        self._process.record("refused", peer=peer, code=error.code, reason=str(error))


class Calling:
    """Makes `clients` connections, all at once, each in a thread of its own."""

    def __init__(self, process: Process, port: int | None = None) -> None:
        """`port` if it is not the configuration's."""
        self._process = process
        self._port = port or process.config.port
        self._channels: set[Channel] = set()
        self._stopped = False

    def run(self) -> None:
        """Returns when every connection has ended."""
        threads = [
            threading.Thread(target=self._call, args=(number,), name=f"connection {number}")
            for number in range(self._process.config.clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def stop(self) -> None:
        """End now; may be called from a signal handler."""
        self._stopped = True
        for channel in tuple(self._channels):
            channel.abort()

    def _call(self, number: int) -> None:
        process, config = self._process, self._process.config
        try:
            channel = connect(
                config.server_address,
                process.tls,
                config.server_name,
                port=self._port,
                source=config.address,
                limits=process.limits,
            )
        except ExchangeError as error:
            process.failures.append(f"connection {number}: {error.code}: {error}")
            return
        self._channels.add(channel)
        try:
            self._greet(channel, process.hello(number))
        except ExchangeError as error:
            if number not in process.negotiated:
                process.failures.append(f"connection {number}: {error.code}: {error}")
            channel.fail(error)
        finally:
            self._channels.discard(channel)
            channel.close()

    def _greet(self, channel: Channel, hello: Hello) -> None:
        if self._stopped:
            raise ExchangeError("stopped", "expected to connect, found this process stopping")
        answer = channel.exchange(hello)
        if (answer.scenario, answer.connection) != (hello.scenario, hello.connection):
            raise ExchangeError("order", f"expected an answer to {hello}, found {answer}")
        self._process.converse(channel, answer)


ROLES: dict[str, Callable[[Process], Serving | Calling]] = {"server": Serving, "client": Calling}
