"""Real TLS over real sockets: good clients, and every way a client can be bad."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.exchange.messages import Bye, EndpointInfo, ExchangeError, Hello, Ready
from lab.exchange.server import Server
from lab.exchange.tls import Channel, Identity, Limits, connect
from tests.lab.authority import SERVER_NAME, Authority

LIMITS = Limits(handshake=0.4, message=0.4, barrier=2.0, linger=0.2)
ENDPOINT = EndpointInfo(
    qpn=17, sq_psn=0xABCDEF, gid="::ffff:127.0.0.1", path_mtu=1024, addr=4096, r_key=1, length=64
)


class Running:
    """A server that carries out an exchange without RDMA, and what became of its clients."""

    def __init__(self, identity: Identity, address: str, half_open: int = 64) -> None:
        self.refused: list[tuple[str, str]] = []
        self.served: list[Hello] = []
        self.news = threading.Semaphore(0)
        self.address, self.server = (
            address,
            Server(
                address,
                identity.context("server"),
                self.serve,
                self.refuse,
                port=0,
                limits=LIMITS,
                half_open=half_open,
            ),
        )
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()

    def serve(self, channel: Channel, hello: Hello) -> None:
        channel.send(Hello(name="server", scenario=hello.scenario, connection=hello.connection))
        assert channel.exchange(ENDPOINT) == ENDPOINT
        channel.exchange(Ready())
        channel.barrier("done")
        channel.bye()
        self.served.append(hello)
        self.news.release()

    def refuse(self, peer: str, error: ExchangeError) -> None:
        self.refused.append((error.code, str(error)))
        self.news.release()

    def next_refused(self) -> tuple[str, str]:
        assert self.news.acquire(timeout=5)
        return self.refused.pop()

    def plain(self) -> socket.socket:
        return socket.create_connection((self.address, self.server.port), 5)

    def good(self, identity: Identity, number: int = 0, keylog: str | None = None) -> None:
        channel = self.connect(identity, keylog)
        try:
            hello = Hello(name="client", scenario="test", connection=number)
            assert channel.exchange(hello).name == "server"
            assert channel.exchange(ENDPOINT) == ENDPOINT
            channel.exchange(Ready())
            channel.barrier("done")
            channel.bye()
        finally:
            channel.close()
        assert self.news.acquire(timeout=5)

    def connect(self, identity: Identity, keylog: str | None = None) -> Channel:
        context = identity.context("client", keylog)
        return connect(
            self.address, context, SERVER_NAME, port=self.server.port, limits=Limits(5, 5, 5, 0.2)
        )

    def raw(self, identity: Identity) -> ssl.SSLSocket:
        """TLS as it should be, for bytes that should not."""
        return identity.context("client").wrap_socket(self.plain(), server_hostname=SERVER_NAME)

    def close(self) -> None:
        self.server.stop()
        self.thread.join(5)
        assert not self.thread.is_alive()


@pytest.fixture(params=["127.0.0.1", "::1"])
def running(request: pytest.FixtureRequest, server_identity: Identity) -> Iterator[Running]:
    running = Running(server_identity, request.param)
    yield running
    running.close()


@pytest.fixture
def v4(server_identity: Identity) -> Iterator[Running]:
    running = Running(server_identity, "127.0.0.1")
    yield running
    running.close()


def test_exchange(running: Running, client_identity: Identity, tmp_path: Path) -> None:
    keylog = tmp_path / "keylog.txt"
    running.good(client_identity, 7, str(keylog))
    assert [hello.connection for hello in running.served] == [7]
    assert running.refused == []
    assert "SERVER_TRAFFIC_SECRET_0" in keylog.read_text()
    assert keylog.stat().st_mode & 0o077 == 0


def test_description(v4: Running, client_identity: Identity) -> None:
    channel = v4.connect(client_identity)
    told = channel.description()
    channel.close()
    assert told["version"] == "TLSv1.3"
    assert told["cipher"].startswith("TLS_")
    assert told["peer_certificate"]["names"] == [SERVER_NAME]
    assert len(told["peer_certificate"]["sha256"]) == 64


def test_many_clients_at_once(v4: Running, client_identity: Identity) -> None:
    threads = [threading.Thread(target=v4.good, args=(client_identity, n)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(hello.connection for hello in v4.served) == list(range(20))
    assert v4.refused == []


def speaks_http(server: Running, _: Identity, __: Identity) -> None:
    with server.plain() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        sock.recv(100)


def speaks_half_a_record(server: Running, _: Identity, __: Identity) -> None:
    with server.plain() as sock:
        sock.sendall(b"\x16\x03\x01\x02\x00" + b"?" * 512)
        sock.recv(100)


def old_tls(server: Running, good: Identity, __: Identity) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(good.ca)
    context.load_cert_chain(good.certificate, good.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        server.plain() as sock,
        pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"),
        context.wrap_socket(sock, server_hostname=SERVER_NAME),
    ):
        pass


def no_certificate(server: Running, good: Identity, __: Identity) -> None:
    context = ssl.create_default_context(cafile=good.ca)
    with (
        server.plain() as sock,
        context.wrap_socket(sock, server_hostname=SERVER_NAME) as tls,
        pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"),
    ):
        tls.recv(1)


def wrong_certificate(server: Running, _: Identity, stranger: Identity) -> None:
    """The client learns why: TLS 1.3 tells it after its own side of the handshake is done."""
    channel = server.connect(stranger)
    with pytest.raises(ExchangeError) as caught:
        channel.exchange(Hello(name="stranger", scenario="test", connection=0))
    assert caught.value.code == "rejected"
    channel.close()


def sends(data: bytes, answer: bytes = b"") -> Callable[[Running, Identity, Identity], None]:
    def client(server: Running, good: Identity, _: Identity) -> None:
        with server.raw(good) as tls:
            tls.sendall(data)
            received = b""
            while chunk := tls.recv(4096):
                received += chunk
            assert answer in received

    return client


def message(text: bytes) -> bytes:
    return len(text).to_bytes(4, "big") + text


def connects_only(server: Running, _: Identity, __: Identity) -> None:
    with server.plain() as sock:
        assert sock.recv(100) == b""


def drips_handshake(server: Running, _: Identity, __: Identity) -> None:
    """A byte at a time, each well within the limit: the limit is for the whole handshake."""
    stop = threading.Event()
    with server.plain() as sock:
        for byte in b"\x16\x03\x01\x01\x00" + bytes(256):
            try:
                sock.sendall(bytes([byte]))
            except OSError:
                return
            if stop.wait(0.05) or server.refused:
                return
    pytest.fail("the server let bytes drip for ever")


def drips_message(server: Running, good: Identity, _: Identity) -> None:
    stop = threading.Event()
    with server.raw(good) as tls:
        for byte in (1000).to_bytes(4, "big") + b" " * 1000:
            try:
                tls.sendall(bytes([byte]))
            except OSError:
                return
            if stop.wait(0.05) or server.refused:
                return
    pytest.fail("the server let bytes drip for ever")


def disconnects(server: Running, _: Identity, __: Identity) -> None:
    server.plain().close()


def disconnects_after_hello(server: Running, good: Identity, _: Identity) -> None:
    channel = server.connect(good)
    channel.exchange(Hello(name="client", scenario="test", connection=0))
    channel.close()


def says_bye_too_early(server: Running, good: Identity, _: Identity) -> None:
    channel = server.connect(good)
    channel._sock.sendall(
        message(b'{"rocelab": 1, "type": "hello", "name": "c", "scenario": "s", "connection": 0}')
        + message(b'{"rocelab": 1, "type": "bye"}')
    )
    channel.session.send(Hello(name="c", scenario="s", connection=0))
    channel.receive(Hello)
    channel.session.send(ENDPOINT)
    channel.receive(EndpointInfo)
    with pytest.raises(ExchangeError, match="found 'bye'") as caught:
        channel.receive(Ready)
    assert caught.value.code == "order"
    channel.close()


BAD: dict[str, tuple[Callable[[Running, Identity, Identity], None], str, str]] = {
    "http": (speaks_http, "plain-text", "b'GE'"),
    "half a record": (speaks_half_a_record, "tls", "TLS error"),
    "TLS 1.2": (old_tls, "tls-version", "expected TLS 1.3"),
    "no certificate": (no_certificate, "no-certificate", "found none"),
    "wrong certificate": (wrong_certificate, "certificate", "lab's authority"),
    "oversized": (sends(b"\xff\xff\xff\xff", b'"oversized"'), "oversized", "4294967295"),
    "garbled": (sends(message(b"{nonsense}"), b'"garbled"'), "garbled", "nonsense"),
    "version": (
        sends(message(b'{"rocelab": 9, "type": "hello"}'), b'"version"'),
        "version",
        "found 9",
    ),
    "order": (sends(message(b'{"rocelab": 1, "type": "bye"}'), b'"order"'), "order", "'bye'"),
    "early bye": (says_bye_too_early, "order", "'bye'"),
    "connects only": (connects_only, "silent", "TLS handshake within 0.4 s"),
    "silent after TLS": (sends(b"", b'"silent"'), "silent", "hello within 0.4 s"),
    "drips handshake": (drips_handshake, "silent", "TLS handshake within 0.4 s"),
    "drips message": (drips_message, "silent", "hello within 0.4 s"),
    "disconnects": (disconnects, "disconnected", "closed"),
    "disconnects after hello": (disconnects_after_hello, "disconnected", "bye"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_client_is_named_dropped_and_the_next_served(
    v4: Running, client_identity: Identity, stranger: Identity, kind: str
) -> None:
    client, code, text = BAD[kind]
    client(v4, client_identity, stranger)
    found_code, found_text = v4.next_refused()
    assert found_code == code
    assert text in found_text
    v4.good(client_identity)
    assert v4.refused == []


def test_half_open_clients_are_bounded(
    server_identity: Identity, client_identity: Identity
) -> None:
    """Two silent clients hold both slots; the good one is served once their time is over."""
    running = Running(server_identity, "127.0.0.1", half_open=2)
    silent = [running.plain() for _ in range(2)]
    try:
        running.good(client_identity)
        assert [code for code, _ in running.refused] == ["silent", "silent"]
    finally:
        for sock in silent:
            sock.close()
        running.close()


def test_wrong_host_name(v4: Running, client_identity: Identity) -> None:
    context = client_identity.context("client")
    with pytest.raises(ExchangeError, match=r"other\.rocelab\.test") as caught:
        connect("127.0.0.1", context, "other.rocelab.test", port=v4.server.port)
    assert caught.value.code == "host-name"
    assert v4.next_refused()[0] == "rejected"


def test_server_of_another_authority(v4: Running, tmp_path: Path) -> None:
    """The client knows only its own authority."""
    elsewhere = Authority(tmp_path, "elsewhere").issue("client.rocelab.test")
    with pytest.raises(ExchangeError) as caught:
        v4.connect(elsewhere)
    assert caught.value.code == "certificate"
    assert v4.next_refused()[0] == "rejected"


def test_nobody_listens(client_identity: Identity) -> None:
    with socket.create_server(("127.0.0.1", 0)) as placeholder:
        port = placeholder.getsockname()[1]
    context = client_identity.context("client")
    with pytest.raises(ExchangeError, match="Connection refused") as caught:
        connect("127.0.0.1", context, SERVER_NAME, port=port)
    assert caught.value.code == "unreachable"


def test_server_that_says_nothing(client_identity: Identity) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        context = client_identity.context("client")
        with pytest.raises(ExchangeError, match=r"TLS handshake within 0.4 s") as caught:
            connect("127.0.0.1", context, SERVER_NAME, port=mute.getsockname()[1], limits=LIMITS)
    assert caught.value.code == "silent"


def test_stop_ends_clients_in_the_middle(v4: Running, client_identity: Identity) -> None:
    channel = v4.connect(client_identity)
    channel.exchange(Hello(name="client", scenario="test", connection=0))
    channel.receive(EndpointInfo)
    v4.close()
    assert v4.next_refused()[0] == "disconnected"
    with pytest.raises(ExchangeError) as caught:
        channel.receive(Ready)
    assert caught.value.code == "disconnected"
    channel.close()


def test_peer_that_gives_up_says_why(v4: Running, client_identity: Identity) -> None:
    channel = v4.connect(client_identity)
    channel.exchange(Hello(name="client", scenario="test", connection=0))
    channel.fail(ExchangeError("flow", "data\ndiffer"))
    channel.close()
    assert v4.next_refused() == ("flow", "the peer gave up: data?differ")


def test_bye_needs_both(v4: Running, client_identity: Identity) -> None:
    channel = v4.connect(client_identity)
    with pytest.raises(ExchangeError, match="found 'bye'"):
        channel.send(Bye())
    channel.close()
    assert v4.next_refused()[0] == "disconnected"
