from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.exchange.messages import (
    PATH_MTUS,
    TYPES,
    Barrier,
    Bye,
    EndpointInfo,
    ExchangeError,
    Failure,
    Hello,
    Message,
    Ready,
    as_dict,
    decode,
    encode,
)

ENDPOINT = EndpointInfo(
    qpn=17, sq_psn=0xABCDEF, gid="::ffff:10.0.0.1", path_mtu=1024, addr=1 << 63, r_key=1, length=64
)
texts = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=32)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Hello, texts, texts, st.integers(0, 2**24 - 1)),
    st.builds(
        EndpointInfo,
        st.integers(0, 2**24 - 1),
        st.integers(0, 2**24 - 1),
        st.ip_addresses(v=6).map(str),
        st.sampled_from(PATH_MTUS),
        st.integers(0, 2**64 - 1),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**32 - 1),
    ),
    st.just(Ready()),
    st.builds(Barrier, texts),
    st.just(Bye()),
    st.builds(Failure, texts, texts),
)


@given(messages)
def test_round_trip(message: Message) -> None:
    assert decode(encode(message)) == message


def test_readable_in_a_decrypted_capture() -> None:
    assert encode(ENDPOINT) == (
        b'{"rocelab": 1, "type": "endpoint", "qpn": 17, "sq_psn": 11259375,'
        b' "gid": "::ffff:10.0.0.1", "path_mtu": 1024, "addr": 9223372036854775808,'
        b' "r_key": 1, "length": 64}'
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("qpn", 1 << 24),
        ("qpn", -1),
        ("sq_psn", 1 << 24),
        ("sq_psn", True),
        ("sq_psn", 1.0),
        ("sq_psn", "5"),
        ("sq_psn", None),
        ("gid", "10.0.0.1"),
        ("gid", "fe80::1%eth0"),
        ("gid", 1),
        ("path_mtu", 1500),
        ("path_mtu", 128),
        ("path_mtu", 1024.0),
        ("addr", 1 << 64),
        ("r_key", 1 << 32),
        ("length", -1),
    ],
)
def test_field_out_of_range_is_named(field: str, value: Any) -> None:
    with pytest.raises(ExchangeError) as built:
        replace(ENDPOINT, **{field: value})
    with pytest.raises(ExchangeError) as received:
        decode(json.dumps({**json.loads(encode(ENDPOINT)), field: value}).encode())
    for caught in (built, received):
        assert caught.value.code == "field"
        for part in ("endpoint", field, "expected", "found", repr(value)):
            assert part in str(caught.value)


@pytest.mark.parametrize(
    ("data", "code", "found"),
    [
        (b"", "garbled", "b''"),
        (b"GET / HTTP/1.1", "garbled", "GET"),
        (b"\xff\xfe", "garbled", "xff"),
        (b"[" * 4000, "garbled", "[[["),
        (b"9" * 4096, "garbled", "999"),
        (b"[{}]", "garbled", "[{}]"),
        (b"null", "garbled", "None"),
        (b'{"rocelab": 1, "type": "ready", "x": NaN}', "garbled", "NaN"),
        (b'{"type": "ready", "rocelab": 1}', "garbled", "'type', 'rocelab'"),
        (b'{"rocelab": 1, "type": "ready", "type": "bye"}', "garbled", "twice"),
        (b'{"rocelab": 1, "type": "reset"}', "garbled", "'reset'"),
        (b'{"rocelab": 1, "type": ["ready"]}', "garbled", "['ready']"),
        (b'{"rocelab": 2, "type": "ready"}', "version", "found 2"),
        (b'{"rocelab": true, "type": "ready"}', "version", "found True"),
        (b'{"rocelab": "1", "type": "ready"}', "version", "found '1'"),
        (b'{"rocelab": 1, "type": "barrier"}', "field", "'name'"),
        (b'{"rocelab": 1, "type": "ready", "psn": 5}', "field", "'psn'"),
        (b'{"rocelab": 1, "type": "barrier", "name": ""}', "field", "''"),
        (b'{"rocelab": 1, "type": "barrier", "name": "a\\u0007"}', "field", "x07"),
        (b'{"rocelab": 1, "type": "barrier", "name": "\\ud800"}', "field", "ud800"),
        (b'{"rocelab": 1, "type": "barrier", "name": {"a": {"b": 1}}}', "field", "'b': 1"),
    ],
)
def test_what_is_wrong_is_named(data: bytes, code: str, found: str) -> None:
    with pytest.raises(ExchangeError) as caught:
        decode(data)
    assert caught.value.code == code
    assert found in str(caught.value)
    assert len(str(caught.value)) < 700


@given(st.binary(max_size=200))
def test_bytes_never_raise_anything_else(data: bytes) -> None:
    with pytest.raises(ExchangeError):
        decode(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.sampled_from(sorted(TYPES)), st.data())
def test_json_of_any_shape_is_a_message_or_an_exchange_error(
    name: str, data: st.DataObject
) -> None:
    names = list(TYPES[name].__dataclass_fields__)
    document = {key: data.draw(json_values) for key in names}
    try:
        message = decode(json.dumps({"rocelab": 1, "type": name, **document}).encode())
    except ExchangeError:
        return
    assert as_dict(message) == document
