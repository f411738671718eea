"""Run directories made to break the reader: one clear sentence, exit status 2 or 3, no escapes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.finding import PsnVerdict
from analysis.report import write
from analysis.terminal import telling
from analysis.verify import Unreadable, verify
from captures import run
from tests.analysis.scene import secure_flow

ROOT = Path(__file__).parents[2]
ESCAPE = "\x1b]0;owned\x07\x1b[31m[red]x[/]"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A run directory with a small capture, complete and unchanged."""
    monkeypatch.setenv("PATH", "/nonexistent")
    secure_flow().write(tmp_path / "capture.pcapng")
    save(tmp_path)
    return tmp_path


def save(folder: Path, **keys: object) -> None:
    known = {"id": "r", "scenario": "secure-flow", "backend": "userspace", "status": "complete"}
    times = {"started_ns": 1, "ended_ns": 2}
    document = {"schema": 1, **known, **times, "sha256": run.evidence(folder), **keys}
    (folder / "run.json").write_text(json.dumps(document))


def test_events_with_values_of_any_kind(folder):
    odd = [{"a": None}, ESCAPE, -1]
    names = ("negotiated", "counters", "qp_state", "work", "checked", "measured", "closed")
    keys = ("connection", "local", "remote", "role", "tls", "device", "counters", "attributes")
    events = [{"time_ns": 1, "event": name} | dict.fromkeys(keys, odd) for name in names]
    lines = "".join(json.dumps(event) + "\n" for event in events)
    (folder / "truth-client.jsonl").write_text(lines)
    save(folder)
    results = verify(folder)
    write(results, folder / "report.html")


def test_half_a_surrogate_pair_in_a_reason(folder):
    save(folder, status="failed", reason="\ud800" + ESCAPE + "<script>")
    write(verify(folder), folder / "report.html")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "?" in page
    assert ESCAPE + "<script>" not in page


def test_nothing_given_steers_the_terminal(folder):
    name = folder / f"no{ESCAPE.replace('/', '')}.pcapng"
    save(folder, status="failed", reason=ESCAPE, sha256={ESCAPE: "00"})
    for path in (name, folder):
        done = subprocess.run(
            [sys.executable, "-m", "lab.cli", "verify", path],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert b"\x1b" not in done.stdout + done.stderr
        assert b"Traceback" not in done.stderr
        assert done.returncode in {1, 2, 3}


def test_a_capture_elsewhere_is_none_of_the_run_s(folder):
    save(folder, capture={"file": "../../etc/passwd"})
    with pytest.raises(Unreadable, match="a name in the directory"):
        verify(folder)


def test_of_many_connections_only_those_that_tell_something_are_listed(folder):
    results = verify(folder)
    (connection,) = results.context.conversations.connections
    match = next(j for j in results.judgements if j.connection == connection.number)
    judgements = [replace(match, connection=n, sender=side) for n in range(30) for side in "ab"]
    judgements[41] = replace(judgements[41], verdict=PsnVerdict.MISMATCH)
    even = [
        j if i == 41 else replace(j, verdict=PsnVerdict.MATCH) for i, j in enumerate(judgements)
    ]
    shown = telling(even)
    assert [j.connection for j in shown] == [n for n in (*range(10), 20) for _ in "ab"]
