"""The other process: does what the measuring one asks for, over a socket it was started with."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from lab.bench import plain
from lab.bench.control import Line
from lab.bench.end import End, cpu_seconds, resident_bytes
from lab.bench.errors import BenchError
from lab.bench.setup import Answering
from lab.hosts.enter import die_with
from lab.runner.certificates import Certificate


class Peer:
    """Each method `do_...` is a request of the control line; it returns the answer's fields."""

    def __init__(self, line: Line, address: str, other: str, length: int, *, fast: bool) -> None:
        self._line = line
        self._other = other
        self._address = address
        self.end = End(address, length, fast=fast)
        self._answering: Answering | None = None

    def serve(self) -> None:
        """Until the line ends or says so."""
        while (message := self._line.receive())["do"] != "stop":
            action: Callable[..., dict[str, Any]] = getattr(self, f"do_{message.pop('do')}")
            self._line.send(**action(**message))

    def do_open(self, count: int, depth: int) -> dict[str, Any]:
        return {"peers": self.end.open(count, depth), "resident": resident_bytes()}

    def do_connect(self, peers: list[dict[str, Any]], path_mtu: int) -> dict[str, Any]:
        self.end.connect(peers, path_mtu)
        return {}

    def do_state(self) -> dict[str, Any]:
        counters = dict(self.end.ctx.adapter.device.counters)
        return {"cpu_s": cpu_seconds(), "resident": resident_bytes(), "counters": counters}

    def do_lose(self, rate: float) -> dict[str, Any]:
        self.end.ctx.adapter.lose(rate)
        return {}

    def do_fill(self, kind: str, length: int) -> dict[str, Any]:
        self.end.fill(kind, length)
        return {}

    def do_digest(self, length: int) -> dict[str, Any]:
        return {"digest": self.end.digest(length)}

    def do_sink(self, length: int, places: int, depth: int) -> dict[str, Any]:
        """Receive messages of `length` bytes until the last; answers when ready, and at the end."""
        end = self.end
        post = end.qps[0].post_recv
        receives = [end.receive(length, place * length) for place in range(places)]
        for number in range(depth):
            post(receives[number % places])
        self._line.send()
        before, done, going = cpu_seconds(), 0, True
        while going:
            for wc in end.poll():
                post(receives[(done + depth) % places])
                done += 1
                going = not end.is_last(wc)
        return {"bytes": (done - 1) * length, "cpu_s": cpu_seconds() - before}

    def do_echo(self, length: int) -> dict[str, Any]:
        """Send back each message until the last; answers when ready, and at the end."""
        end = self.end
        qp, receive = end.qps[0], end.receive(length)
        send = end.request(end.verbs.IBV_WR_SEND, length, flags=0)
        for _ in range(16):
            qp.post_recv(receive)
        self._line.send()
        while True:
            for wc in end.poll():
                if end.is_last(wc):
                    return {}
                qp.post_send(send)
                qp.post_recv(receive)

    def do_answer(self, **certificate: str) -> dict[str, Any]:
        """Take part in connection setups, until `answered`."""
        pem = {name: text.encode() for name, text in certificate.items()}
        self._answering = Answering(self.end, self._address, Certificate(**pem))
        return {"port": self._answering.port}

    def do_answered(self) -> dict[str, Any]:
        answering, self._answering = self._answering, None
        assert answering is not None
        answering.finish()
        return {"errors": answering.errors}

    def do_udp_trains(self) -> dict[str, Any]:
        with plain.udp(self._address) as sock:
            self._line.send()
            before = cpu_seconds()
            total, seconds = plain.receive_trains(sock)
        return {"bytes": total, "seconds": seconds, "cpu_s": cpu_seconds() - before}

    def do_udp_echo(self) -> dict[str, Any]:
        with plain.udp(self._address) as sock:
            self._line.send()
            sock.connect((self._other, plain.PORT))
            plain.echo(sock.send, plain.polled(sock))
        return {}

    def do_tcp(self) -> dict[str, Any]:
        """Accept a connection: echo, then take bulk data."""
        with socket.create_server((self._address, plain.PORT)) as server:
            self._line.send()
            connection, _ = server.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.echo(connection.send, plain.polled(connection))
            connection.settimeout(None)
            before = cpu_seconds()
            total, seconds = plain.receive_tcp(connection)
        return {"bytes": total, "seconds": seconds, "cpu_s": cpu_seconds() - before}


def main(descriptor: str, address: str, other: str, *numbers: str) -> None:
    """Serve the line behind file descriptor `descriptor`; end with the parent process.

    `numbers`: bytes of memory, the parent's process id, whether to run compiled code.
    """
    length, parent, fast = map(int, numbers)
    die_with(parent)
    # Ctrl-C goes to both; the measuring process ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = Line(socket.socket(fileno=int(descriptor)))
    try:
        peer = Peer(line, address, other, length, fast=bool(fast))
        line.send(ready=True)
        peer.serve()
        peer.end.close()
    except OSError as error:
        line.send(error=f"{address}: {error.strerror or error}")
    except BenchError as error:
        line.send(error=str(error))
    except EOFError:
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
