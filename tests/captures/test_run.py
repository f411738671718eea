"""A run directory saved, loaded, garbled and edited."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from captures import run

RUN = run.Run("r1", "secure-flow", "userspace", "complete", 1, 2, hosts={"kind": "netns"})


def test_saved_is_loaded(tmp_path: Path) -> None:
    run.save(tmp_path, RUN)
    assert run.load(tmp_path) == RUN
    assert json.loads((tmp_path / "run.json").read_text())["schema"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_evidence_that_stands_and_evidence_that_was_edited(tmp_path: Path) -> None:
    (tmp_path / "capture.pcapng").write_bytes(b"abc")
    (tmp_path / "truth-client.jsonl").write_bytes(b"")
    (tmp_path / "report.html").write_bytes(b"derived")
    recorded = replace(RUN, sha256=run.evidence(tmp_path))
    # FIPS 180-2, example B.1: SHA-256 of "abc".
    assert recorded.sha256["capture.pcapng"] == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert sorted(recorded.sha256) == ["capture.pcapng", "truth-client.jsonl"]
    assert run.edited(tmp_path, recorded) == []
    (tmp_path / "capture.pcapng").write_bytes(b"abd")
    (tmp_path / "truth-client.jsonl").unlink()
    (tmp_path / "keylog.txt").write_bytes(b"new")
    changed, missing, added = run.edited(tmp_path, recorded)
    assert changed.startswith("capture.pcapng: expected SHA-256 ba78")
    assert missing == "truth-client.jsonl: missing"
    assert added == "keylog.txt: not recorded in run.json"


def test_a_missing_run_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(run.RunError, match=r"found no run\.json"):
        run.load(tmp_path)


GOOD: dict[str, Any] = {
    "schema": 1,
    "id": "x",
    "scenario": "s",
    "backend": "b",
    "status": "failed",
    "started_ns": 1,
    "ended_ns": 2,
}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "expected JSON"),
        (b"\xff\xfe", "expected JSON"),
        (b"[" * 100_000, "expected JSON"),
        (b"[]", "found list"),
        (json.dumps(GOOD | {"schema": 2}).encode(), "expected schema 1, found 2"),
        (json.dumps(GOOD | {"started_ns": "1"}).encode(), "started_ns to be int, found str"),
        (json.dumps(GOOD | {"ended_ns": True}).encode(), "ended_ns to be int, found bool"),
        (json.dumps(GOOD | {"status": "fine"}).encode(), "found 'fine'"),
        (json.dumps({"schema": 1}).encode(), "id, scenario, backend"),
        (json.dumps(GOOD | {"options": {"x": float("nan")}}).encode(), "found: NaN"),
        (json.dumps(GOOD | {"ended_ns": 10**400}).encode(), "ended_ns from 0 to"),
        (json.dumps(GOOD | {"ended_ns": -1}).encode(), "ended_ns from 0 to"),
        (json.dumps(GOOD | {"capture": {"received": "9"}}).encode(), "received to be int"),
        (json.dumps(GOOD | {"capture": {"dropped": True}}).encode(), "dropped to be int"),
        (json.dumps(GOOD | {"capture": {"file": "../c.pcapng"}}).encode(), "a name in the"),
        (json.dumps(GOOD | {"capture": {"file": "/etc/passwd"}}).encode(), "a name in the"),
        (json.dumps(GOOD | {"capture": {"file": "a\0b"}}).encode(), "a name in the"),
        (json.dumps(GOOD | {"capture": {"file": ".."}}).encode(), "a name in the"),
        (json.dumps(GOOD | {"sha256": {"keylog.txt": [1]}}).encode(), "sha256 to be hex"),
    ],
)
def test_a_garbled_run_says_where(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(run.RunError, match=words):
        run.load(tmp_path)


def test_keys_of_later_versions_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(GOOD | {"new": 1}))
    assert run.load(tmp_path).id == "x"
