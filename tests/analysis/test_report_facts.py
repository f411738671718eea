"""The commands that the report offers do show what it says they show."""

from __future__ import annotations

import subprocess
from pathlib import Path

from analysis.report.facts import commands, facts
from analysis.report.material import Material
from analysis.verify import verify
from tests.analysis.flow import run_folder
from tests.requires import tool


def test_the_offered_commands_show_the_announced_psns(tmp_path: Path) -> None:
    tool("tshark")
    material = Material(verify(run_folder(tmp_path)))
    offered = [command for _, command in commands(material)]
    first, inside, ours = offered
    shown = [
        subprocess.run(
            command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        for command in (first, inside)
    ]
    assert shown[0].split() == [str(0xFFFFFA), str(0x5EC001)]
    assert f'"sq_psn": {0xFFFFFA}' in shown[1]
    assert f'"sq_psn": {0x5EC001}' in shown[1]
    assert ours == "rocelab verify capture.pcapng"


def test_facts_of_a_run(tmp_path: Path) -> None:
    known = dict(facts(Material(verify(run_folder(tmp_path)))))
    assert known["Captured by"] == "tcpdump"
    assert known["Hosts"] == "netns (root)"
    assert known["Frames dropped while capturing"] == "0"
    assert known["ICRC"] == "38 correct, 0 wrong, 0 not checkable"
    assert known["Captured"] == "2023-11-14 22:13:20 UTC, 0.006 s long"
