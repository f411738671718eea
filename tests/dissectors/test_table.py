"""The packet table: each row says what the packet parsed on its own says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import captures
from dissectors import table
from dissectors.bth import BTH
from dissectors.header import Data
from dissectors.ip import IPv4
from dissectors.packet import Packet
from dissectors.reth import RETH
from tests.captures.files import SAMPLES

WRAP = next(path for path in SAMPLES if path.name == "rxe61_pyverbs_wrap.pcap")


def value(column: np.ndarray, row: int) -> int | bytes:
    found = column[row]
    return bytes(found) if column.dtype.kind == "V" else int(found)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_rows_equal_packets(path: Path) -> None:
    packets = captures.open(path).table()
    frames = list(captures.open(path).frames())
    assert len(packets) == len(frames)
    for row, frame in enumerate(frames):
        packet = Packet.parse(frame.data, frame.link_type, frame.original_length)
        assert packets.frame_bytes(row) == frame.data
        assert packets["time_ns"][row] == frame.time_ns
        assert packets["offset"][row] == frame.offset
        assert packets["icrc_status"][row] == packet.icrc_status
        assert packets["damage"][row] == (packet.damage.code if packet.damage else 0)
        start = int(packets["payload_offset"][row])
        stop = start + int(packets["payload_length"][row])
        assert frame.data[start:stop] == packet.payload
        for kind in table.HEADERS:
            header = packet.get(kind)
            assert packets.has(kind)[row] == (header is not None)
            for field in kind.fields:
                if field.column in packets.columns:
                    empty = field.default if isinstance(field, Data) else 0
                    expected = getattr(header, field.name) if header is not None else empty
                    assert value(packets[field.column], row) == expected, field
        assert (packets.source(row), packets.destination(row)) == packet.ends or IPv4 not in packet


def test_select_and_the_icrc_counts_of_the_sample() -> None:
    # captures/samples/README.txt: 18 RoCE packets, ICRC valid 18, 45 others.
    packets = captures.open(WRAP).table()
    assert np.bincount(packets["icrc_status"]).tolist() == [45, 18]
    writes = packets.select(packets.has(RETH))
    assert len(writes) == packets.has(RETH).sum()
    assert all(RETH in packet for packet in writes)
    assert writes["bth_psn"].dtype == np.uint32
    assert BTH in packets.select([int(np.flatnonzero(packets.has(BTH))[0])]).packet(0)


def test_arrow_and_polars_hold_nulls_where_a_header_is_absent() -> None:
    packets = captures.open(WRAP).table()
    arrow = packets.to_arrow()
    assert tuple(arrow.column_names) == packets.columns
    assert arrow["bth_psn"].null_count == 45
    assert arrow["reth_va"].null_count == len(packets) - packets.has(RETH).sum()
    frame = packets.to_polars()
    assert frame["bth_psn"].drop_nulls().to_list() == packets["bth_psn"][packets.has(BTH)].tolist()
    assert frame["src"][0] == bytes(packets["src"][0])


def test_an_empty_table() -> None:
    empty = captures.open(WRAP).table().select([])
    assert len(empty) == 0
    assert empty["bth_psn"].tolist() == []
    assert empty.to_arrow().num_rows == 0


def test_an_unknown_column_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        captures.open(WRAP).table()["bth_nothing"]
