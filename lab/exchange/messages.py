"""The messages of the exchange: what each holds, which values are allowed, and their JSON form.

A message travels as one UTF-8 JSON object whose first keys are `"rocelab"` (version) and `"type"`,
so that whoever decrypts a capture can read it by eye.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

VERSION = 1
LIMIT = 4096  # bytes of one encoded message
PATH_MTUS = (256, 512, 1024, 2048, 4096)


class ExchangeError(Exception):
    """The exchange cannot go on. `code` is a stable word for the cause, the text says it in full.

    Codes of this package: plain-text, tls, tls-version, certificate, host-name, no-certificate,
    rejected, version, oversized, garbled, field, order, barrier, silent, disconnected, unreachable,
    resources, stopped; besides them whatever code a peer sent in its `error` message.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Check:
    """What a field must be: `expected` in words, `holds` as a test of any JSON value."""

    expected: str
    holds: Callable[[Any], bool]


def _is_gid(value: Any) -> bool:
    try:
        return isinstance(value, str) and "%" not in value and bool(ipaddress.IPv6Address(value))
    except ValueError:
        return False


def _checked(check: Check) -> Any:
    return field(metadata={"check": check})


def _uint(bits: int) -> Any:
    # `type(...) is int`: JSON's true is not the number 1.
    return _checked(
        Check(
            f"an integer of {bits} bits (0 to {(1 << bits) - 1})",
            lambda value: type(value) is int and 0 <= value < 1 << bits,
        )
    )


def _text(limit: int) -> Any:
    return _checked(
        Check(
            f"printable text of 1 to {limit} characters",
            lambda value: (
                isinstance(value, str) and 0 < len(value) <= limit and value.isprintable()
            ),
        )
    )


def shorten(value: object, limit: int = 60) -> str:
    """`repr(value)`, cut to `limit` characters: what a stranger sent never fills a log."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


@dataclass(frozen=True, slots=True)
class Message:
    """Base of all messages; a value outside a field's range cannot be built."""

    type: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for spec in fields(self):
            check: Check = spec.metadata["check"]
            value = getattr(self, spec.name)
            if not check.holds(value):
                raise ExchangeError(
                    "field",
                    f"message {self.type!r}, field {spec.name!r}: expected {check.expected}, "
                    f"found {shorten(value)}",
                )


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """Who speaks, which scenario it will run, and the client's number for this connection."""

    type: ClassVar[str] = "hello"
    name: str = _text(64)
    scenario: str = _text(64)
    connection: int = _uint(24)


@dataclass(frozen=True, slots=True)
class EndpointInfo(Message):
    """What the peer needs to know of the sender's queue pair and buffer.

    `sq_psn` is the PSN of the first request the *sender of this message* will send (FACTS: "sender
    chooses"). `path_mtu` is in bytes; both ends use the smaller of the two. `gid` is IPv6 text,
    an IPv4 address in its mapped form (`::ffff:10.0.0.1`). `addr`, `r_key` and `length` (bytes)
    name the buffer that the peer may access.
    """

    type: ClassVar[str] = "endpoint"
    qpn: int = _uint(24)
    sq_psn: int = _uint(24)
    gid: str = _checked(Check("an IPv6 address without scope", _is_gid))
    path_mtu: int = _checked(
        Check(
            f"one of {', '.join(map(str, PATH_MTUS))}",
            lambda value: type(value) is int and value in PATH_MTUS,
        )
    )
    addr: int = _uint(64)
    r_key: int = _uint(32)
    length: int = _uint(32)


@dataclass(frozen=True, slots=True)
class Ready(Message):
    """The sender's queue pair is in RTS and its receives are posted."""

    type: ClassVar[str] = "ready"


@dataclass(frozen=True, slots=True)
class Barrier(Message):
    """The sender has come to the point `name` and waits there for the other."""

    type: ClassVar[str] = "barrier"
    name: str = _text(64)


@dataclass(frozen=True, slots=True)
class Bye(Message):
    """Orderly end."""

    type: ClassVar[str] = "bye"


@dataclass(frozen=True, slots=True)
class Failure(Message):
    """The `error` message: why the sender closes now."""

    type: ClassVar[str] = "error"
    code: str = _text(32)
    message: str = _text(1000)


TYPES: dict[str, type[Message]] = {
    kind.type: kind for kind in (Hello, EndpointInfo, Ready, Barrier, Bye, Failure)
}


def as_dict(message: Message) -> dict[str, Any]:
    """The message's own fields, in the order they are declared."""
    return {spec.name: getattr(message, spec.name) for spec in fields(message)}


def encode(message: Message) -> bytes:
    """The JSON form, without the length in front."""
    document = {"rocelab": VERSION, "type": message.type, **as_dict(message)}
    return json.dumps(document, ensure_ascii=False).encode()


def decode(data: bytes) -> Message:
    """The message that `data`, one JSON object, holds; raises ExchangeError."""
    pairs = _object(data)
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ExchangeError("garbled", "expected each key once, found a key given twice")
    if [key for key, _ in pairs[:2]] != ["rocelab", "type"]:
        raise ExchangeError(
            "garbled",
            f"expected 'rocelab' and 'type' as first keys, found {shorten(list(document)[:2])}",
        )
    version, name = document.pop("rocelab"), document.pop("type")
    if type(version) is not int or version != VERSION:
        raise ExchangeError(
            "version", f"expected version {VERSION} of the exchange, found {shorten(version)}"
        )
    kind = TYPES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ExchangeError(
            "garbled", f"expected a message type of {', '.join(TYPES)}, found {shorten(name)}"
        )
    wanted = [spec.name for spec in fields(kind)]
    if set(document) != set(wanted):
        raise ExchangeError(
            "field",
            f"message {name!r}: expected the fields {wanted}, found {shorten(list(document), 200)}",
        )
    return kind(**document)


def _object(data: bytes) -> list[tuple[str, Any]]:
    """The key-value pairs of the JSON object `data`, nested objects as plain dicts."""
    top: list[list[tuple[str, Any]]] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        top[:] = [found]  # called for the outermost object last
        return dict(found)

    def number(text: str) -> None:
        raise ValueError(f"{text} is not JSON")

    try:
        value = json.loads(data.decode(), object_pairs_hook=pairs, parse_constant=number)
    except (ValueError, RecursionError) as error:
        raise ExchangeError(
            "garbled", f"expected a JSON object in UTF-8, found {shorten(data)}: {error}"[:500]
        ) from None
    if not isinstance(value, dict):
        raise ExchangeError("garbled", f"expected a JSON object, found {shorten(value)}")
    return top[0]
