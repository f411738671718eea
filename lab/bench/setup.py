"""Connection setup as an endpoint does it: TCP, TLS with both certificates, the exchange, a queue
pair at either end in RTS, and the orderly end.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from functools import partial

from lab.bench.bench import Bench
from lab.bench.end import End
from lab.bench.errors import BenchError
from lab.bench.row import Row
from lab.exchange.messages import EndpointInfo, ExchangeError, Hello, Ready
from lab.exchange.server import Server
from lab.exchange.session import Role
from lab.exchange.tls import Channel, Identity, connect
from lab.flows.connect import Connection, gid_of
from lab.runner.certificates import SERVER_NAME, Certificate, issue
from lab.runner.memory import MemoryFiles

CALLERS = 4
"""Clients at the same time."""
BUFFER = 8192
PATH_MTU = 4096


def identity(files: MemoryFiles, certificate: Certificate) -> Identity:
    """Where OpenSSL finds `certificate`."""
    names = ("ca", "chain", "key")
    return Identity(*(files.add(name, getattr(certificate, name)) for name in names))


def establish(channel: Channel, end: End, address: str) -> Connection:
    """After the hellos: a queue pair that is in RTS, as the peer's is."""
    ours = Connection(end.verbs, end.ctx, BUFFER, lambda *_, **__: None)
    try:
        local = EndpointInfo(
            qpn=ours.qp.qp_num,
            sq_psn=secrets.randbits(24),
            gid=gid_of(address),
            path_mtu=PATH_MTU,
            addr=ours.mr.buf,
            r_key=ours.mr.rkey,
            length=BUFFER,
        )
        ours.connect(local, channel.exchange(local), PATH_MTU, 0)
        channel.exchange(Ready())
    except BaseException:
        ours.close()
        raise
    return ours


def hello(role: Role, number: int) -> Hello:
    """What an end says first."""
    return Hello(name=role, scenario="bench", connection=number)


class Answering:
    """The server: takes part in setups until `finish`."""

    def __init__(self, end: End, address: str, certificate: Certificate) -> None:
        self._end, self._address = end, address
        self.errors: list[str] = []
        with MemoryFiles() as files:
            context = identity(files, certificate).context("server")
        self._server = Server(address, context, self._serve, self._refused, port=0)
        self.port = self._server.port
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()

    def _serve(self, channel: Channel, greeting: Hello) -> None:
        channel.send(hello("server", greeting.connection))
        with establish(channel, self._end, self._address):
            channel.bye()

    def _refused(self, peer: str, error: ExchangeError) -> None:
        self.errors.append(f"{peer}: {error}")

    def finish(self) -> None:
        """Serve to their end those being served."""
        self._server.finish()
        self._thread.join()


def setup(bench: Bench) -> Iterator[Row]:
    """CALLERS clients, each connecting again and again."""
    certificates = issue()
    theirs = certificates["server"]
    pem = {name: getattr(theirs, name).decode() for name in ("ca", "chain", "key")}
    port = bench.line.ask("answer", **pem)["port"]
    with MemoryFiles() as files:
        context = identity(files, certificates["client"]).context("client")
    times: list[int] = []
    errors: list[str] = []
    start = time.perf_counter_ns()
    finish = start + int(bench.seconds * 1e9)

    def one(number: int) -> None:
        began = time.perf_counter_ns()
        channel = connect(bench.other, context, SERVER_NAME, port=port, source=bench.address)
        try:
            channel.exchange(hello("client", number))
            with establish(channel, bench.end, bench.address):
                times.append(time.perf_counter_ns() - began)
                channel.bye()
        finally:
            channel.close()

    def call(caller: int) -> None:
        try:
            while not errors and time.perf_counter_ns() < finish:
                one(caller)
        except ExchangeError as error:
            errors.append(str(error))

    before = bench.cpu_seconds()
    callers = [threading.Thread(target=partial(call, number)) for number in range(CALLERS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    seconds = (time.perf_counter_ns() - start) / 1e9
    cpu = bench.cpu_seconds() - before
    errors += bench.line.ask("answered")["errors"]
    if errors:
        raise BenchError(f"expected every connection to be set up, found: {errors[0]}")
    ordered = sorted(times)
    yield Row(
        "setup",
        "Connection setup, TLS and queue pair",
        {
            "connections_s": len(times) / seconds,
            "p99_ms": ordered[len(ordered) * 99 // 100] / 1e6,
            "cpu_ms_per_connection": cpu * 1e3 / len(times),
        },
        f"{CALLERS} at a time, certificates of both ends",
    )
