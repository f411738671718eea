from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

import pytest

from lab import questions
from lab.cli import app
from lab.examples import EXAMPLES
from tests.requires import tool

ROCELAB = [sys.executable, "-m", "lab.cli"]
HEAVY = {"numpy", "numba", "polars", "pyarrow", "altair", "scipy", "scapy", "pyshark", "jinja2"}


def rocelab(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ROCELAB, *words], capture_output=True, text=True, timeout=60, check=False
    )


def test_help_names_every_command() -> None:
    done = rocelab("--help")
    assert done.returncode == 0
    for command in ("doctor", "passes", "report", "scenarios", "verify"):
        assert command in done.stdout


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line, _ in lines])
def test_each_example_can_be_typed(line: str) -> None:
    """Up to a pipe: what is given to rocelab itself parses, and is the command it is shown for."""
    stage = next(part for part in line.split(" | ") if part.startswith("rocelab "))
    command, bound, _ = app.parse_args(
        shlex.split(stage)[1:], print_error=False, exit_on_error=False
    )
    assert line in {text for text, _ in EXAMPLES[command.__name__]}
    assert bound.arguments or command.__name__ in {"run", "scenarios", "passes", "doctor", "bench"}


@pytest.mark.parametrize("command", EXAMPLES)
def test_help_ends_in_examples(command: str) -> None:
    shown = rocelab(command, "--help").stdout
    assert "Examples:" in shown
    assert all(line in shown for line, _ in EXAMPLES[command])


def test_help_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *ROCELAB[1:], "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = done.stderr.splitlines()
    loaded = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines if "|" in line}
    assert "cyclopts" in loaded
    assert not loaded & (HEAVY | {"analysis", "captures", "pyroute2"})


def test_help_is_quick() -> None:
    """CPU seconds, not time: other work on the machine is none of ours. Best of five."""

    def once() -> float:
        words = [*ROCELAB, "--help"]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return used.ru_utime + used.ru_stime

    assert min(once() for _ in range(5)) < 0.25


@pytest.mark.parametrize(
    "words", [["scenarios", "nope"], ["doctor", "--nope"], ["scenarios", "a", "b"]]
)
def test_a_usage_error_ends_in_2(words: list[str]) -> None:
    done = rocelab(*words)
    assert done.returncode == 2
    assert "nope" in done.stderr or "b" in done.stderr
    assert "Traceback" not in done.stderr


def test_scenarios() -> None:
    assert "secure-flow" in rocelab("scenarios").stdout
    page = rocelab("scenarios", "secure-flow").stdout
    assert "Teaches:" in page
    assert "rocelab run secure-flow" in page


def test_doctor_tries_everything() -> None:
    tool("tcpdump", "tshark")
    done = rocelab("doctor", "--json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert report["schema"] == 1
    checks = {(check["area"], check["name"]): check for check in report["checks"]}
    assert checks["hosts", "loopback"]["works"]
    assert checks["capture", "tap"]["works"]
    assert checks["backend", "userspace"]["works"]
    assert checks["witness", "tshark"]["works"]
    assert checks["hosts", report["hosts"]]["works"]
    assert checks["capture", report["capture"]]["works"]
    for check in report["checks"]:
        assert bool(check["mend"]) is not check["works"]


def test_doctor_for_people() -> None:
    done = rocelab("doctor")
    assert done.returncode == 0
    assert "A run here uses" in done.stdout
    assert "Traceback" not in done.stderr


def test_output_into_a_pipe_nobody_reads() -> None:
    shell = f"{sys.executable} -m lab.cli scenarios secure-flow; echo status $? >&2"
    done = subprocess.run(
        ["bash", "-c", f"({shell}) | true"], capture_output=True, text=True, check=True, timeout=60
    )
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize("name", questions.names())
def test_doctor_answers_questions(name: str) -> None:
    shown = rocelab("doctor", name).stdout
    question, answer = questions.page(name)
    assert question.endswith("?")
    assert " ".join(shown.split()) == " ".join(f"{question} {answer}".split())
    assert "In rocelab" in answer or "in rocelab" in answer


def test_doctor_refuses_a_question_it_does_not_know() -> None:
    done = rocelab("doctor", "nope")
    assert done.returncode == 2
    assert "no-packets" in done.stderr
