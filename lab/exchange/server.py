"""The server's accept loop: one thread a client, whatever a client does.

A client is *half-open* until its hello has come. Only so many may be half-open at once; further
ones wait in the listen queue, each at most the time limits long for those before it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
import ssl
import threading
from collections.abc import Callable

from lab.exchange.messages import ExchangeError, Hello
from lab.exchange.tls import PORT, Channel, Limits, accept

Serve = Callable[[Channel, Hello], None]
Refused = Callable[[str, ExchangeError], None]


class Server:
    """Listens at once; `run()` serves until `stop()`, which any thread or signal handler may call.

    `serve(channel, hello)` runs in the client's own thread, after TLS and the client's hello, and
    may raise ExchangeError; the client is then told and dropped. `refused(peer, error)` is called
    for every client dropped, from its thread. `channel` is closed after `serve` in any case.
    """

    def __init__(
        self,
        address: str,
        context: ssl.SSLContext,
        serve: Serve,
        refused: Refused,
        *,
        port: int = PORT,
        limits: Limits | None = None,
        half_open: int = 64,
    ) -> None:
        self.limits = limits or Limits()
        self._context, self._serve, self._refused = context, serve, refused
        self._slots = threading.Semaphore(half_open)
        self._live: dict[threading.Thread, Channel | None] = {}
        self._stopped = self._aborted = False
        v6 = ipaddress.ip_address(address.partition("%")[0]).version == 6
        self._listener = socket.create_server(
            (address, port), family=socket.AF_INET6 if v6 else socket.AF_INET, backlog=256
        )
        self._listener.settimeout(0)
        self.port: int = self._listener.getsockname()[1]
        self._wake, self._waker = socket.socketpair()
        self._wake.settimeout(0)
        self._waker.settimeout(0)

    def run(self) -> None:
        """Accept until stopped; returns when every client's thread has ended."""
        try:
            while not self._stopped:
                # With no slot left, wait for a client to free one; the backlog holds the others.
                free = self._slots.acquire(blocking=False)
                _wait(self._wake, *([self._listener] if free else []))
                if free and (self._stopped or not self._accept()):
                    self._slots.release()
        finally:
            self._listener.close()
            for thread in tuple(self._live):
                thread.join()
            self._wake.close()
            self._waker.close()

    def stop(self) -> None:
        """No further clients; those being served find their connection ended."""
        self._aborted = True
        self.finish()
        for channel in tuple(self._live.values()):
            if channel is not None:
                channel.abort()

    def finish(self) -> None:
        """No further clients; those being served are served to their end."""
        self._stopped = True
        self._notify()

    def _notify(self) -> None:
        # A full or closed socket needs no further byte: the loop wakes or has ended.
        with contextlib.suppress(OSError):
            self._waker.send(b"\0")

    def _accept(self) -> bool:
        """Start one client's thread, which then owns the half-open slot."""
        try:
            sock, address = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return False
        except OSError as error:
            # Out of file descriptors or memory: say so, and give the clients time to end.
            self._refused("unknown", ExchangeError("resources", f"cannot accept: {error}"))
            _wait(self._wake, seconds=0.2)
            return False
        peer = f"{address[0]} port {address[1]}"
        thread = threading.Thread(target=self._client, args=(sock, peer), name=f"client {peer}")
        self._live[thread] = None
        try:
            thread.start()
        except RuntimeError as error:
            del self._live[thread]
            sock.close()
            self._refused(peer, ExchangeError("resources", f"cannot serve: {error}"))
            return False
        return True

    def _client(self, sock: socket.socket, peer: str) -> None:
        """One client from TLS to the end; this thread's own error handling is complete."""
        channel = None
        half_open = contextlib.ExitStack()
        half_open.callback(self._notify)
        half_open.callback(self._slots.release)
        try:
            with half_open:
                channel = accept(sock, self._context, peer, self.limits)
                self._live[threading.current_thread()] = channel
                if self._aborted:
                    raise ExchangeError("stopped", "expected to serve, found the server stopping")
                hello = channel.receive(Hello)
            self._serve(channel, hello)
        except ExchangeError as error:
            self._refused(peer, error)
            if channel is not None:
                channel.fail(error)
        finally:
            if channel is not None:
                channel.close()
            del self._live[threading.current_thread()]


def _wait(wake: socket.socket, *others: socket.socket, seconds: float | None = None) -> None:
    """Until a socket can be read or `seconds` have passed; what `wake` holds is thrown away."""
    poll = select.poll()  # select() cannot watch descriptors above 1023
    for sock in (wake, *others):
        poll.register(sock, select.POLLIN)
    poll.poll(None if seconds is None else seconds * 1000)
    with contextlib.suppress(BlockingIOError):
        wake.recv(4096)
