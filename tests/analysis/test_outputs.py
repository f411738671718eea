"""What `verify` writes for others: JUnit, an annotated capture, text, exit status."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import captures
from analysis import annotate, junit, passes
from analysis.cli import app
from analysis.document import document
from analysis.finding import Verdict
from analysis.merge import merge
from analysis.terminal import show
from analysis.verify import verify
from captures.pcapng_writer import Writer
from dissectors.ip import IPv4
from dissectors.packet import Packet
from tests.analysis.scene import A_SQ_PSN, A, Connection, Scene, connect, secure_flow
from tests.requires import tool

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "captures" / "samples"


@pytest.fixture
def no_tshark(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")


def cm_scene():
    scene = Scene()
    connect(scene, req_psn=0x1B2C3D, rep_psn=A_SQ_PSN)
    Connection(scene).talk()
    return scene


def test_junit_of_a_pass(tmp_path, no_tshark):
    results = verify(cm_scene().write(tmp_path / "cm.pcapng"))
    assert results.verdict is Verdict.PASS
    junit.write(results, tmp_path / "junit.xml")
    suite = ET.parse(tmp_path / "junit.xml").getroot()
    assert (suite.get("failures"), suite.get("errors")) == ("0", "0")
    assert int(suite.get("tests")) == len(results.passes) + 2


def test_junit_of_a_failure(tmp_path, no_tshark):
    scene = cm_scene()
    scene.frames = scene.frames[:2]
    Connection(scene).send("a")
    wrong = Connection(scene)
    wrong.next["b"] = 5
    wrong.send("b")
    results = verify(scene.write(tmp_path / "cm.pcapng"))
    junit.write(results, tmp_path / "junit.xml")
    suite = ET.parse(tmp_path / "junit.xml").getroot()
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert "psn-negotiated" in failed
    assert any("10.77.0.1" in name for name in failed)


def test_annotated_capture_in_tshark(tmp_path):
    """tshark shows the comments, on the frames that the document names."""
    tool("tshark")
    results = verify(secure_flow().write(tmp_path / "flow.pcapng"))
    path = tmp_path / "annotated.pcapng"
    annotate.annotate(results, path)
    command = ["tshark", "-r", str(path), "-Y", "frame.comment", "-T", "fields"]
    command += ["-e", "frame.number", "-e", "frame.comment"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    comments = dict(line.split("\t", 1) for line in text.splitlines())
    for judgement in results.judgements:
        comment = comments[str(judgement.frame)]
        assert f"PSN {judgement.first:#08x} = negotiated" in comment
    assert sum("inside TLS" in comment for comment in comments.values()) == 2
    again = verify(path)
    assert again.verdict is Verdict.PASS
    assert [j.frame for j in again.judgements] == [j.frame for j in results.judgements]


def written(path, frames, skew_ns=0):
    """A capture of `frames` by a clock that is `skew_ns` ahead, a router away (TTL)."""
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.interface("eth0")
        for frame in frames:
            packet = Packet.parse(frame.data)
            routed = (h.replace(ttl=63) if isinstance(h, IPv4) else h for h in packet.headers)
            again = Packet(tuple(routed), packet.payload, packet.pad, packet.icrc)
            writer.packet(again.build(), frame.time_ns + skew_ns)
    return path


def test_two_captures_of_one_link(tmp_path, no_tshark):
    """B's clock is three seconds ahead, and two packets never came to it."""
    at_a = cm_scene().write(tmp_path / "a.pcapng")
    frames = list(captures.open(at_a).frames())
    kept = [frame for number, frame in enumerate(frames) if number not in (3, 9)]
    at_b = written(tmp_path / "b.pcapng", kept, 3_000_000_000)
    merged = merge([at_b, at_a])
    assert [Packet.parse(f.data).payload for f in merged.frames()] == [
        Packet.parse(f.data).payload for f in frames
    ]
    assert "2 in this file alone, its clock is -3000.000 ms off" in merged.note
    assert verify(at_b).verdict is Verdict.INCONCLUSIVE
    results = verify(at_b, more=[at_a])
    assert results.verdict is Verdict.PASS, results.findings


def test_each_end_captured_only_what_it_sent(tmp_path, no_tshark):
    frames = list(captures.open(cm_scene().write(tmp_path / "whole.pcapng")).frames())
    at_a, at_b = (
        written(
            tmp_path / f"{mine}.pcapng",
            [frame for frame in frames if (Packet.parse(frame.data).ends[0] == A) == mine],
        )
        for mine in (True, False)
    )
    assert verify(at_a).verdict is Verdict.INCONCLUSIVE
    assert verify(at_b).verdict is Verdict.INCONCLUSIVE
    assert verify(at_a, more=[at_b]).verdict is Verdict.PASS


def test_text_says_the_verdict_first(tmp_path, no_tshark, capsys):
    show(verify(cm_scene().write(tmp_path / "cm.pcapng")))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("PASS")
    assert any("0x6436e9" in line and "match" in line for line in lines)


def test_text_of_hostile_bytes_does_not_steer_the_terminal(tmp_path, no_tshark, capsys):
    path = tmp_path / "evil\x1b[31m.pcapng"
    show(verify(cm_scene().write(path)))
    assert "\x1b" not in capsys.readouterr().out


@pytest.fixture
def command(capsys):
    """Give a command to the application: exit status, standard output, standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            app([str(argument) for argument in arguments])
        return ended.value.code or 0, *capsys.readouterr()

    return run


def test_exit_status(tmp_path, no_tshark, command):
    good = SAMPLES / "rxe61_cm_rping.pcap"
    status, out, _ = command("verify", good, "--json")
    assert (status, json.loads(out)["verdict"]) == (0, "pass")
    assert command("verify", good, "--expect", "10.77.0.2:0x19=5")[0] == 1
    assert command("verify", SAMPLES / "rxe61_cm_udaddy.pcap")[0] == 3
    status, _, error = command("verify", tmp_path / "nothing.pcap")
    assert status == 2
    assert "nothing.pcap" in error
    assert command("verify", good, "--expect", "junk")[0] == 2
    assert command("verify", good, "--junit", tmp_path / "no" / "such" / "folder.xml")[0] == 2


def test_options_take_one_value_each(tmp_path, no_tshark, command):
    """`--truth FILE CAPTURE`: the capture is no second truth file."""
    log = Connection(Scene()).truth(tmp_path)[0]
    capture = cm_scene().write(tmp_path / "cm.pcapng")
    status, out, _ = command("verify", "--truth", log, capture, "--json")
    assert (status, json.loads(out)["verdict"]) == (0, "pass")


def test_manual_pages(command):
    status, out, _ = command("passes")
    assert status == 0
    assert "psn-negotiated" in out
    assert "Whose PSN is it?" in command("passes", "psn-negotiated")[1]
    assert command("passes", "nonsense")[0] == 2


@pytest.mark.parametrize("name", passes.PASSES)
def test_a_manual_page_names_every_finding_of_its_pass(name):
    """The codes that stand in its source beside what they weigh, `"psn-gap", Severity.WARNING`."""
    module = importlib.import_module(f"analysis.passes.{name.replace('-', '_')}")
    source = inspect.getsource(module)
    codes = set(re.findall(r'"([a-z]+(?:-[a-z]+)+)",\s*Severity\.', source))
    unnamed = {code for code in codes if f"`{code}`" not in module.__doc__}
    assert not unnamed


def test_document_is_plain_json(tmp_path, no_tshark):
    told = document(verify(cm_scene().write(tmp_path / "cm.pcapng")))
    assert json.loads(json.dumps(told)) == told
    assert told["connections"][0]["negotiated_by"] == "rdma-cm"
    assert told["connections"][0]["convention"] == "receiver-chooses"
