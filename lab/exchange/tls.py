"""The exchange over TLS 1.3 on a TCP socket, every wait with a deadline, every failure named."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lab.exchange.messages import LIMIT, Barrier, Bye, ExchangeError, Failure, Message
from lab.exchange.session import Role, Session

PORT = 4433
M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that may pass: TLS handshake, one message of the exchange, one barrier, closing."""

    handshake: float = 5.0
    message: float = 10.0
    barrier: float = 60.0
    linger: float = 1.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Paths of PEM files: the lab's certificate authority, this end's certificate and key."""

    ca: str
    certificate: str
    key: str

    def context(self, role: Role, keylog: str | None = None) -> ssl.SSLContext:
        """TLS 1.3 only, both certificates required; secrets are appended to the file `keylog`."""
        purpose = ssl.PROTOCOL_TLS_SERVER if role == "server" else ssl.PROTOCOL_TLS_CLIENT
        context = ssl.SSLContext(purpose)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.check_hostname = role == "client"
        context.load_verify_locations(self.ca)
        context.load_cert_chain(self.certificate, self.key)
        if role == "server":
            context.num_tickets = 0  # nobody resumes; a ticket would arrive after the last read
        if keylog is not None:
            Path(keylog).touch(mode=0o600)
            context.keylog_filename = keylog
        return context


# OpenSSL's reason -> (our code, what it means). An alert is what the *peer* said of us.
CAUSES: dict[str, tuple[str, str]] = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": (
        "no-certificate",
        "expected a certificate of the peer, found none",
    ),
    "UNSUPPORTED_PROTOCOL": ("tls-version", "expected TLS 1.3, found an older version offered"),
    "NO_PROTOCOLS_AVAILABLE": ("tls-version", "expected TLS 1.3, found no version in common"),
    "TLSV1_ALERT_PROTOCOL_VERSION": ("tls-version", "the peer speaks no version of TLS we accept"),
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": ("rejected", "the peer requires a certificate of ours"),
    "TLSV1_ALERT_UNKNOWN_CA": (
        "rejected",
        "the peer does not know the authority that signed our certificate",
    ),
    "SSLV3_ALERT_BAD_CERTIFICATE": ("rejected", "the peer refused our certificate"),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": ("rejected", "the peer found our certificate expired"),
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": ("rejected", "the peer refused our certificate"),
    "TLSV1_ALERT_DECRYPT_ERROR": ("rejected", "the peer could not verify our certificate"),
}


class Deadline:
    """A moment `seconds` from now; every operation on a socket gets what is left of it."""

    def __init__(self, seconds: float, awaited: str) -> None:
        self.seconds, self.awaited = seconds, awaited
        self._end = time.monotonic() + seconds

    def apply(self, sock: socket.socket) -> None:
        """Give `sock` the time that is left; raises ExchangeError `silent` when none is."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)

    def passed(self) -> ExchangeError:
        return ExchangeError(
            "silent", f"expected {self.awaited} within {self.seconds:g} s, found too little or none"
        )


@contextlib.contextmanager
def named(deadline: Deadline) -> Iterator[None]:
    """Turn whatever a socket or OpenSSL raises into an ExchangeError with the cause's name."""
    try:
        yield
    except TimeoutError:
        raise deadline.passed() from None
    except ssl.SSLCertVerificationError as error:
        # 62: host name mismatch, 64: IP address mismatch (X509_V_ERR_*)
        code = "host-name" if error.verify_code in {62, 64} else "certificate"
        raise ExchangeError(
            code, f"expected a certificate of the lab's authority, found: {error.verify_message}"
        ) from None
    except ssl.SSLError as error:
        reason = getattr(error, "reason", None) or str(error)
        if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            reason = "EOF"
        code, text = CAUSES.get(
            reason, ("tls", f"expected {deadline.awaited}, found TLS error {reason}")
        )
        if reason == "EOF":
            code, text = "disconnected", f"expected {deadline.awaited}, found the connection closed"
        raise ExchangeError(code, text) from None
    except OSError as error:
        raise ExchangeError(
            "disconnected", f"expected {deadline.awaited}, found: {error.strerror or error}"
        ) from None


class Channel:
    """One end of an exchange on a connected TLS socket. Not for several threads at once.

    Every method may raise ExchangeError; the caller then calls `fail` (which tells the peer, if
    it can) and `close`.
    """

    def __init__(self, sock: ssl.SSLSocket, role: Role, peer: str, limits: Limits) -> None:
        self.role, self.peer, self.limits = role, peer, limits
        self.session = Session(role)
        self._sock = sock
        self._early: deque[Message] = deque()

    def send(self, message: Message) -> None:
        """Write one message within the message limit."""
        data = self.session.send(message)
        deadline = Deadline(self.limits.message, f"the peer to take our {message.type}")
        with named(deadline):
            deadline.apply(self._sock)
            self._sock.sendall(data)

    def receive(self, kind: type[M], seconds: float | None = None) -> M:
        """The next message, which must be of `kind`, complete within `seconds`.

        However slowly its bytes drip in, the limit holds for the whole message.
        """
        limit = self.limits.message if seconds is None else seconds
        deadline = Deadline(limit, f"the peer's {kind.type}")
        while not self._early and not self._take():
            with named(deadline):
                deadline.apply(self._sock)
                data = self._sock.recv(LIMIT)
            self.session.receive(data)
        message = self._early.popleft()
        if not isinstance(message, kind):
            raise ExchangeError("order", f"expected {kind.type!r}, found {message.type!r}")
        return message

    def _take(self) -> bool:
        """Move one message from the session to those not yet asked for."""
        message = self.session.next_message()
        if isinstance(message, Failure):
            raise ExchangeError(message.code, f"the peer gave up: {message.message}")
        if message is not None:
            self._early.append(message)
        return message is not None

    def watch(self) -> None:
        """Raise if the peer has given up or gone; messages that came are kept. Never blocks."""
        deadline = Deadline(0, "the peer to stay connected")
        with named(deadline):
            self._sock.settimeout(0)
            try:
                data = self._sock.recv(LIMIT)
            except ssl.SSLWantReadError:
                return
        self.session.receive(data)
        while self._take():
            pass

    def exchange(self, message: M) -> M:
        """Send `message`, receive the peer's of the same kind."""
        self.send(message)
        return self.receive(type(message))

    def barrier(self, name: str) -> None:
        """Wait until both ends have come to the barrier `name`."""
        self.send(Barrier(name=name))
        self.receive(Barrier, self.limits.barrier)

    def bye(self) -> None:
        """Orderly end: bye from both, then TLS close_notify from both."""
        self.send(Bye())
        self.receive(Bye, self.limits.barrier)
        deadline = Deadline(self.limits.linger, "the peer's close_notify")
        # Both byes have been said: a peer that closes without close_notify truncates nothing.
        with contextlib.suppress(ExchangeError), named(deadline):
            deadline.apply(self._sock)
            self._sock.unwrap()

    def fail(self, error: ExchangeError) -> None:
        """Tell the peer why, if it still listens, and let it read that before the socket goes."""
        text = "".join(c if c.isprintable() else "?" for c in str(error))[:1000] or error.code
        with contextlib.suppress(ExchangeError):
            self.send(Failure(code=error.code[:32], message=text))
        linger(self._sock, self.limits.linger)

    def close(self) -> None:
        self._sock.close()

    def abort(self) -> None:
        """Wake a thread blocked on this channel: its read finds the end of the connection."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def description(self) -> dict[str, Any]:
        """Version, cipher and the peer's certificate (subject and SHA-256), for the truth log."""
        der = self._sock.getpeercert(binary_form=True) or b""
        parsed = self._sock.getpeercert() or {}
        cipher = self._sock.cipher()
        names: Any = parsed.get("subjectAltName", ())
        return {
            "version": self._sock.version(),
            "cipher": cipher[0] if cipher else None,
            "peer_certificate": {
                "names": [value for _, value in names],
                "sha256": hashlib.sha256(der).hexdigest(),
            },
        }


def linger(sock: socket.socket, seconds: float) -> None:
    """Close the sending side and read what still comes, bounded in time and bytes.

    Closing a socket with unread bytes sends a reset, which can destroy the error message or the
    TLS alert before the peer has read it.
    """
    deadline = Deadline(seconds, "the peer to close")
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_WR)
        for _ in range(64):
            deadline.apply(sock)
            if not socket.socket.recv(sock, LIMIT):
                return


def accept(sock: socket.socket, context: ssl.SSLContext, peer: str, limits: Limits) -> Channel:
    """Server: the TLS handshake on a socket just accepted; owns and on failure closes `sock`."""
    deadline = Deadline(limits.handshake, "a TLS handshake")
    tls: ssl.SSLSocket | None = None
    try:
        with named(deadline):
            deadline.apply(sock)
            first = sock.recv(2, socket.MSG_PEEK)
            # A TLS record of type handshake: 0x16, major version 3 (RFC 8446, 5.1).
            if first != b"\x16\x03"[: len(first)]:
                raise ExchangeError(
                    "plain-text", f"expected a TLS handshake, found bytes beginning {first!r}"
                )
            deadline.apply(sock)
            tls = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            tls.do_handshake()
    except ExchangeError:
        linger(tls or sock, limits.linger)
        (tls or sock).close()
        raise
    return Channel(tls, "server", peer, limits)


def connect(
    address: str,
    context: ssl.SSLContext,
    server_name: str,
    *,
    port: int = PORT,
    source: str | None = None,
    limits: Limits | None = None,
) -> Channel:
    """Client: TCP to `address` (from the address `source`), TLS, `server_name` verified."""
    limits = limits or Limits()
    deadline = Deadline(limits.handshake, f"a TCP connection to {address} port {port}")
    try:
        sock = socket.create_connection(
            (address, port), limits.handshake, (source, 0) if source else None
        )
    except TimeoutError:
        raise deadline.passed() from None
    except OSError as error:
        raise ExchangeError(
            "unreachable",
            f"expected a server at {address} port {port}, found: {error.strerror or error}",
        ) from None
    tls: ssl.SSLSocket | None = None
    deadline.awaited = "a TLS handshake"
    try:
        with named(deadline):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            deadline.apply(sock)
            tls = context.wrap_socket(
                sock, server_hostname=server_name, do_handshake_on_connect=False
            )
            tls.do_handshake()
    except ExchangeError:
        (tls or sock).close()
        raise
    return Channel(tls, "client", f"{address} port {port}", limits)
