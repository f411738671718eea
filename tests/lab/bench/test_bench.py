"""The benchmark's harness: tiny measurements between two processes; times are not judged."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab.bench import command, document, show
from lab.bench.row import UNITS, Goal, Row
from lab.bench.steps import GOALS, STEPS

SECONDS = 0.01
FAST = [name for name in STEPS if name not in {"write-1000"}]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lab.cli", "bench", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_every_row_has_figures_and_its_goals() -> None:
    done = run("--json", "--seconds", str(SECONDS), "--only", *FAST)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["schema"] == 1
    rows = {row["id"]: row for row in found["rows"]}
    assert set(rows) == {
        row for name in FAST for row in (("tcp-bulk", "tcp-rounds") if name == "tcp" else (name,))
    }
    for row in rows.values():
        assert row["figures"]
        assert set(row["figures"]) <= set(UNITS)
        assert min(row["figures"].values()) >= 0
        assert [goal["goal"] for goal in row["goals"]] == list(map(str, GOALS.get(row["id"], ())))
        assert all(isinstance(goal["met"], bool) for goal in row["goals"])
    text = show.markdown(found)
    assert text.count("\n|") == 1 + len(rows)
    assert all(row["title"] in text for row in rows.values())


def test_many_connections() -> None:
    (row,) = command.measured(["write-1000"], SECONDS, lambda _: None)
    assert row.figures["gbit_s"] > 0
    assert row.figures["kib_per_connection"] <= 64
    found = document.document([row], SECONDS, document.machine())
    assert found["rows"][0]["goals"][0]["met"] is None


def test_goals() -> None:
    rows = {
        "own": Row("own", "", {"gbit_s": 6.0, "median_us": 20.0}),
        "peer": Row("peer", "", {"gbit_s": 10.0, "median_us": 5.0}),
    }
    own = rows["own"]
    assert Goal("gbit_s", 6).met(rows, own) is True
    assert Goal("gbit_s", 6.1).met(rows, own) is False
    assert Goal("gbit_s", 0.6, "peer").met(rows, own) is True
    assert Goal("gbit_s", 0.61, "peer").met(rows, own) is False
    assert Goal("median_us", 3, "peer", most=True).met(rows, own) is False
    assert Goal("median_us", 4, "peer", most=True).met(rows, own) is True
    assert Goal("median_us", 4, "absent", most=True).met(rows, own) is None
    assert str(Goal("median_us", 18, most=True)) == "<= 18.0 us"


def test_every_goal_names_what_is_measured() -> None:
    assert set(GOALS) <= set(STEPS)
    assert {goal.of for goals in GOALS.values() for goal in goals if goal.of} <= set(STEPS)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--only", "everything"), "expected one of udp-trains"),
        (("--seconds", "0"), "expected --seconds above 0"),
    ],
)
def test_usage(arguments: tuple[str, ...], expected: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stdout == ""


def test_list() -> None:
    assert run("--list").stdout.split("\n")[0] == "udp-trains"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "lab.cli", "bench", "--seconds", "60", "--only", "write-64b"],
        stderr=subprocess.PIPE,
    )
    peer = child_of(process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert b"Traceback" not in errors
    wait_for_end(peer)


def child_of(process: subprocess.Popen[bytes]) -> int:
    """The process it starts, once that runs Python."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while True:
        found = children.read_text().split()
        if found and b"lab.bench.peer" in Path(f"/proc/{found[0]}/cmdline").read_bytes():
            return int(found[0])
        assert process.poll() is None
        os.sched_yield()


def wait_for_end(pid: int) -> None:
    """Until the process has ended."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = select.poll()
    ended.register(process, select.POLLIN)
    assert ended.poll(60_000)
    os.close(process)
