"""The tutorial in a browser: readable everywhere, and without a script of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Page, browser
from tests.requires import tool

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tutorial") / "tutorial.html"
    command = [sys.executable, "-m", "lab.cli", "tutorial", "-o", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, str(path)), done.stderr
    return path


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    tool("chromium")
    with browser() as running:
        yield Page(running)


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_it_reads_well(page: Page, tutorial: Path, width: int, dark: bool) -> None:
    page.size(width, phone=width < 500)
    page.media(dark=dark)
    page.open(tutorial)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CONTRAST) == []
    assert page.complaints() == []


def test_it_shows_what_it_speaks_of(page: Page, tutorial: Path) -> None:
    page.size(1280)
    page.open(tutorial)
    text = page.evaluate("document.body.innerText")
    for word in ("rq_psn", "0xc0ffee", "0xffffff", "RNR NAK", "PSN sequence error", "secure-flow"):
        assert word in text or page.evaluate(f"document.body.textContent.includes({word!r})")
    names = ["BTH", "RETH", "AETH", "AtomicETH", "AtomicAckETH", "ImmDt", "DETH"]
    assert page.evaluate("document.querySelectorAll('svg.bits.wide').length") == len(names)
    assert page.evaluate("document.scripts.length") == 0


def test_where_it_cannot_be_written_it_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lab.cli", "tutorial", "-o", str(tmp_path / "no" / "t.html")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "No such file or directory" in done.stderr
