"""Figures as files: what their names promise, drawn without a browser."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.analysis.flow import secure_flow
from tests.requires import tool

SIGNATURES = {"svg": b"<svg", "png": b"\x89PNG\r\n\x1a\n", "pdf": b"%PDF"}


def figures(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "analysis.cli", "figures", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tool("tshark")
    folder = tmp_path_factory.mktemp("figures")
    capture = secure_flow().write(folder / "capture.pcapng")
    done = figures(capture, "-o", folder / "out")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == sorted(str(path) for path in (folder / "out").iterdir())
    return folder / "out"


def test_every_figure_is_there_in_every_format(drawn: Path) -> None:
    names = {path.name for path in drawn.iterdir()}
    figures = ("ladder-0", "psn-0-a", "psn-0-b", "opcodes")
    assert names == {f"{figure}.{ending}" for figure in figures for ending in SIGNATURES}
    for path in drawn.iterdir():
        assert path.read_bytes().startswith(SIGNATURES[path.suffix[1:]])


def test_the_drawings_say_what_they_show(drawn: Path) -> None:
    def text(name: str) -> str:
        return "".join(ElementTree.parse(drawn / name).getroot().itertext())

    ladder = text("ladder-0.svg")
    assert "RC RDMA READ Request" in ladder
    assert "0x5ec001" in ladder
    assert "TLS endpoint" in ladder
    assert "0xfffffa" in text("psn-0-a.svg")
    assert "RC RDMA WRITE Middle" in text("opcodes.svg")


def test_an_unknown_format_is_refused(drawn: Path) -> None:
    done = figures(drawn / "nothing.pcap", "--formats", "bmp")
    assert done.returncode == 2
    assert "expected svg, png, pdf, found 'bmp'" in done.stderr
