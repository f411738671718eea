"""`rocelab psn` as a user calls it: lists, captures, several of them, its page and its figures."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.collect import collect
from analysis.document import lines
from analysis.draws import Draw
from analysis.figures import starting_psns
from analysis.statistics import TESTS, bit_bias, needed
from analysis.survey import members, survey
from analysis.verify import Unreadable
from tests.analysis.flow import secure_flow
from tests.browser import Browser, Page, browser
from tests.requires import tool

SAMPLES = Path(__file__).parents[2] / "captures" / "samples"
UDADDY = SAMPLES / "rxe61_cm_udaddy.pcap"
CM = sorted({*SAMPLES.glob("rxe61_cm_*.pcap")} - {UDADDY})


def rocelab(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lab.cli", "psn", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def values(tmp_path):
    def write(*lines: object) -> Path:
        path = tmp_path / "values.txt"
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return write


def random_psns(count, seed=1):
    rng = random.Random(seed)
    return [rng.getrandbits(24) for _ in range(count)]


@pytest.mark.parametrize("count", [0, 1, 2, 8])
def test_too_few_are_inconclusive(count):
    found = survey([Draw(psn) for psn in random_psns(count)])
    assert (found.verdict, found.enough) == ("inconclusive", 19)
    assert dict(found.needed)["a bit set 51% of the time"] == 70715


def test_it_says_how_many_are_needed(values):
    done = rocelab("--values", values(*random_psns(8)))
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.startswith("INCONCLUSIVE  8 starting PSNs can show next to nothing")
    assert "it takes 19 to show a stuck bit" in done.stdout
    assert "it takes 70,715 draws to show a bit set 51% of the time" in done.stdout


def test_needed_draws_show_it():
    """A bit set 60 % of the time is found in about 80 % of surveys of that many draws."""
    (n,) = [count for what, count in needed(19, 0.01) if "60%" in what]
    rng = np.random.default_rng(7)
    times = 100
    values = rng.integers(0, 1 << 24, size=(times, n)) & ~64 | (rng.random((times, n)) < 0.6) << 6
    tests = [bit_bias([Draw(int(psn)) for psn in row], 0.01 / len(TESTS)) for row in values]
    found = sum(test.p < 0.01 / len(TESTS) for test in tests)
    assert 68 <= found <= 92


def test_enough_random_ones_pass(values):
    done = rocelab("--values", values(*random_psns(200)), "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["verdict"], document["sources"]) == (0, "pass", [])
    assert document["bits_left"] == 24
    assert document["bits_shown"] < 8
    figures = document["figures"]
    assert figures["bit_ones"][-1] == sum(psn & 1 for psn in random_psns(200))
    assert sum(figures["histogram"]) == 200
    assert sum(figures["gaps"]) == 1 << 24


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("0x1000000", "'0x1000000'"),
        ("16777216", "'16777216'"),
        ("-1", "'-1'"),
        ("five", "'five'"),
        ("5 16777216", "'5 16777216'"),
        ("5 17 99999999999999999999", "'5 17 99999999999999999999'"),
        ("1 2 3 4", "'1 2 3 4'"),
        ("\x1b[31m5", "5'"),
    ],
)
def test_what_is_no_psn_is_refused_by_its_line(values, line, found):
    with pytest.raises(Unreadable) as refused:
        collect([], values("# PSNs", "0x6436e9", line), None)
    message = str(refused.value)
    assert "values.txt: line 3: expected PSN [QPN [nanoseconds since 1970]]" in message
    assert found in message


def test_bytes_at_random_are_refused(tmp_path):
    path = tmp_path / "garbage"
    path.write_bytes(b"\x1b[31m" + random.Random(3).randbytes(100_000))
    done = rocelab("--values", path)
    assert done.returncode == 2
    assert "line 1" in done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr


def test_nothing_given_and_nothing_there(tmp_path):
    assert "expected captures, or --values FILE" in rocelab().stderr
    for path in (tmp_path / "nope.pcap", tmp_path):
        with pytest.raises(Unreadable):
            collect([], path, None)


def test_times_that_are_no_clock_s(values):
    """A capture that counts from its own beginning tells no pid times second."""
    lines = (f"{psn} {17 + n} {3 + n}" for n, psn in enumerate(random_psns(4)))
    assert survey(collect([], values(*lines), None)).verdict == "inconclusive"


def test_survey_over_several_captures_of_cm_alone():
    """Kernel rdma_cm, drawn by its CSPRNG: both PSNs of each session, in order of time."""
    draws = collect(CM, None, None)
    assert len(draws) == 2 * len(CM)
    assert len({draw.file for draw in draws}) == len(CM)
    assert all(draw.frame is not None for draw in draws)
    done = rocelab(*CM)
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.startswith(f"INCONCLUSIVE  {len(draws)} starting PSNs")


def test_librdmacm_s_datagrams_start_at_zero():
    """udaddy: both queue pairs of UD begin at PSN 0."""
    found = survey(collect([UDADDY], None, None))
    assert [match.name for match in found.matches] == ["constant"]
    assert "0x000000 = 0 (as librdmacm for UD" in found.headline


def test_captures_and_a_list_together(values):
    draws = collect(CM[:1], values(5, 6), None)
    assert [draw.psn for draw in draws[-2:]] == [5, 6]
    assert draws[0].file == str(CM[0])


def test_a_capture_without_connections(tmp_path):
    path = secure_flow(0).write(tmp_path / "nothing.pcapng")
    assert survey(collect([path], None, None)).headline.startswith("0 starting PSNs can show")


def test_figures_show_what_there_is():
    psns = [psn | 1 for psn in random_psns(300)]
    charts = starting_psns.charts(psns)
    assert list(charts) == ["psn-drawn", "psn-bits", "psn-gaps"]
    drawn = charts["psn-drawn"]["datasets"]["draws"]
    assert [row["psn"] for row in drawn] == psns
    bits = {row["bit"]: row for row in charts["psn-bits"]["datasets"]["bits"]}
    assert bits[7]["share"] == sum(psn >> 7 & 1 for psn in psns) / 300
    assert [bit for bit, row in bits.items() if row["kind"] == "not by chance"] == [0]
    gaps = charts["psn-gaps"]["datasets"]["gaps"]
    assert gaps[-1]["share"] > 0.98
    half = next(row["gap"] for row in gaps if row["share"] >= 0.5)
    assert 0.5 < half < 0.9  # chance: log 2


def test_many_draws_are_thinned():
    drawn = starting_psns.charts(random_psns(10_000))["psn-drawn"]["datasets"]["draws"]
    assert len(drawn) == starting_psns.LIMIT
    assert (drawn[0]["draw"], drawn[-1]["draw"]) == (1, 10_000)


def test_page_and_figures_of_a_survey(values, tmp_path):
    listed = values(*(psn | 1 for psn in random_psns(60)))
    page, folder = tmp_path / "page.html", tmp_path / "figures"
    done = rocelab("--values", listed, "--report", page, "--figures", folder)
    assert done.returncode == 1
    names = {
        f"psn-{name}.{end}" for name in ("drawn", "bits", "gaps") for end in ("svg", "png", "pdf")
    }
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "psn-bits.png").read_bytes().startswith(b"\x89PNG")
    refused = rocelab("--values", listed, "--report", tmp_path / "no" / "page.html")
    assert refused.returncode == 2
    assert "No such file" in refused.stderr


def test_the_page_is_written_though_nobody_reads_on(values, tmp_path):
    """As with `| head`: the reader of standard output has gone before a word is said."""
    page = tmp_path / "page.html"
    reading, writing = os.pipe()
    os.close(reading)
    words = ["psn", "--values", str(values(*random_psns(60))), "--report", str(page)]
    with open(writing, "wb") as gone:  # noqa: PTH123 - a file descriptor
        done = subprocess.run(
            [sys.executable, "-m", "lab.cli", *words],
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.stderr == ""
    assert page.read_text().lower().startswith("<!doctype html>")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    tool("chromium")
    with browser() as running:
        yield running


def test_the_page_in_a_browser(chromium, tmp_path):
    from analysis.report.survey import write

    listed = tmp_path / "<img src=x onerror=alert(1)>.txt"
    listed.write_text("".join(f"{psn | 1}\n" for psn in random_psns(60)))
    found = survey(collect([], listed, None))
    page = Page(chromium)
    page.size(1280)
    page.open(write(found, [listed], tmp_path / "page.html"))
    assert page.evaluate("document.querySelector('h1').textContent") == listed.name
    assert page.evaluate("document.querySelector('.verdict .word').textContent") == "fail"
    assert page.evaluate("document.querySelectorAll('#starts figure svg').length") == 3
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    assert "bit 0 is 1" in page.evaluate("document.querySelector('#starts').textContent")
    page.size(360)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.complaints() == []


def test_a_report_of_a_capture_has_the_section(tmp_path):
    """Eight connections of the simulated flow: counted by 7919 and by 104729."""
    from analysis.report import write
    from analysis.verify import verify

    path = secure_flow(8).write(tmp_path / "capture.pcapng")
    with_it = write(verify(path, every=True), tmp_path / "all.html").read_text()
    assert "are the one before and +7919" in with_it
    assert 'id="starts"' in with_it
    assert "#starts" in with_it
    assert 'id="starts"' not in write(verify(path), tmp_path / "one.html").read_text()


DRAWS = st.builds(
    Draw,
    psn=st.one_of(st.integers(0, (1 << 24) - 1), st.sampled_from([0, 1, 2, 3185, (1 << 24) - 1])),
    drawer=st.sampled_from([None, "10.0.0.1", "10.0.0.2", "fe80::1"]),
    process=st.sampled_from([None, "a", "b", "c"]),
    qpn=st.one_of(st.none(), st.integers(0, (1 << 24) - 1)),
    time_ns=st.one_of(st.none(), st.integers(0, (1 << 63) - 1), st.integers(0, 10)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(DRAWS, max_size=40))
def test_any_draws_are_judged(draws):
    """Whatever was drawn by whom and when: a verdict, a document, no warning."""
    found = survey(draws)
    assert found.verdict in ("pass", "fail", "inconclusive")
    assert found.headline
    assert found.meaning
    json.loads("".join(lines(members(found))))
    for match in found.matches:
        assert 0 <= match.false_positive < 0.01
        assert 0 <= match.entropy <= 24
        assert 0 < match.explained <= match.of
