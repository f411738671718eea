"""Truth logs: written, read, torn, garbled."""

from __future__ import annotations

from pathlib import Path

import pytest

from captures import truth


def test_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "truth-client.jsonl"
    with truth.Log(path) as log:
        log.write(5, "negotiated", connection=0, local={"sq_psn": 7})
    with truth.Log(path) as log:
        log.write(6, "closed", connection=0, orderly=True)
    read = truth.read(path)
    assert read.damage == ""
    assert read.events[0] == truth.Event(5, "negotiated", {"connection": 0, "local": {"sq_psn": 7}})
    assert [event["orderly"] for event in read.named("closed")] == [True]
    assert read.events[1].get("nothing", 3) == 3


def test_a_torn_last_line_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"time_ns":1,"event":"a"}\n{"time_ns":2,"ev')
    read = truth.read(path)
    assert [event.name for event in read.events] == ["a"]
    assert "line 2" in read.damage


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"nonsense", "line 2: expected a JSON object"),
        (b"\xff", "line 2: expected a JSON object"),
        (b"[1]", "line 2: expected a JSON object, found list"),
        (b'{"event":"a"}', "line 2: expected time_ns to be an integer, found None"),
        (b'{"time_ns":true,"event":"a"}', "found True"),
        (b'{"time_ns":1}', "expected event to be a name"),
        (b"[" * 100_000, "line 2: expected a JSON object"),
        (b"x" * (truth.MAX_LINE + 1), "line 2: expected at most"),
    ],
)
def test_a_line_that_is_no_event_is_named(tmp_path: Path, line: bytes, words: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"time_ns":1,"event":"a"}\n' + line + b"\n")
    with pytest.raises(truth.TruthError, match=words):
        truth.read(path)
