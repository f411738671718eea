"""The report in a real browser: it shows, obeys its own policy, can be used, and runs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis import report
from analysis.verify import verify
from tests.analysis.flow import run_folder, secure_flow
from tests.browser import Browser, Page, browser
from tests.requires import tool

SAMPLES = Path(__file__).resolve().parents[2] / "captures" / "samples"
HOSTILE = "</script><img src=x onerror=alert(1)><b>'\"&"
DOWN, TAB = ("ArrowDown", 40), ("Tab", 9)

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    tool("chromium", "tshark")
    with browser() as running:
        yield running


@pytest.fixture
def page(chromium: Browser) -> Page:
    return Page(chromium)


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a secure flow that passes."""
    folder = tmp_path_factory.mktemp("flow")
    capture = secure_flow().write(folder / "capture.pcapng")
    return report.write(verify(capture), folder / "report.html")


def opened(page: Page, path: Path) -> Page:
    page.size(1280)
    page.open(path)
    page.until("!document.getElementById('charts') || document.querySelector('[data-interactive]')")
    return page


def test_it_says_the_verdict_and_asks_nobody(page: Page, flow: Path) -> None:
    opened(page, flow)
    assert page.evaluate("document.querySelector('.verdict .word').textContent") == "pass"
    psns = page.evaluate("[...document.querySelectorAll('dd.psn')].map((d) => d.textContent)")
    assert psns == ["0xfffffa", "0xfffffa", "0x5ec001", "0x5ec001"]
    assert page.evaluate("document.querySelectorAll('[data-interactive] svg').length") == 2
    assert page.complaints() == []


def test_its_policy_allows_its_own_scripts_and_no_other(page: Page, flow: Path) -> None:
    opened(page, flow)
    policy = page.evaluate("document.querySelector('meta[http-equiv]').content")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "http" not in policy
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'),"
        " {textContent: 'window.ran = true'}))"
    )
    assert page.evaluate("window.ran === undefined")
    assert any("Content Security Policy" in said for said in page.complaints())


def test_choosing_a_packet_shows_its_bytes_and_fields(page: Page, flow: Path) -> None:
    opened(page, flow)
    page.evaluate("document.querySelector('tr[aria-selected=true]').focus()")
    page.press(*DOWN)
    page.press(*DOWN)
    chosen = page.evaluate("document.getElementById('chosen').textContent")
    assert chosen == "Frame 29: RC RDMA WRITE First"
    headers = page.evaluate(
        "[...document.querySelectorAll('#tree summary')].map((s) => s.firstChild.textContent)"
    )
    assert headers == ["Ethernet", "IPv4", "UDP", "BTH", "RETH", "Payload", "ICRC"]
    page.evaluate(
        "[...document.querySelectorAll('#tree dl > div')]"
        ".find((line) => line.textContent.startsWith('psn')).focus()"
    )
    marked = "[...document.querySelectorAll('#hex .hit')].map((byte) => byte.textContent).join('')"
    assert page.evaluate(marked) == "fffffb"
    assert "packet sequence number" in page.evaluate(
        "document.getElementById('readout').textContent"
    )


def test_the_keyboard_moves_through_the_fields(page: Page, flow: Path) -> None:
    opened(page, flow)
    page.evaluate("document.querySelector('#tree dl > div[tabindex=\"0\"]').focus()")
    name = "document.activeElement.querySelector('dt').textContent"
    assert page.evaluate(name) == "opcode"
    page.press(*DOWN)
    assert page.evaluate(name) == "se"
    assert page.evaluate("document.querySelectorAll('#hex .hit').length") == 1


def test_the_filter_hides_rows_and_counts_them(page: Page, flow: Path) -> None:
    opened(page, flow)
    page.evaluate(
        "filter = document.getElementById('filter'); filter.value = 'read request';"
        " filter.dispatchEvent(new Event('input'))"
    )
    shown = page.evaluate(
        "[...document.querySelectorAll('tr[data-row]')].filter((r) => r.offsetParent)"
        ".map((r) => r.cells[3].textContent)"
    )
    assert shown == ["RC RDMA READ Request"] * 2
    output = page.evaluate("document.querySelector('.filter output').textContent")
    assert output.startswith("2 of ")


def test_a_mark_in_the_chart_leads_to_its_packet(page: Page, flow: Path) -> None:
    opened(page, flow)
    page.evaluate(
        "document.dispatchEvent(new CustomEvent('choose-frame', {detail: 38}))",
    )
    assert page.evaluate("document.activeElement.id") == "frame-38"


def test_without_scripts_everything_but_the_bytes_is_there(page: Page, flow: Path) -> None:
    page.scripts(on=False)
    page.open(flow)
    assert page.evaluate("document.querySelectorAll('.chart svg').length") == 2
    assert page.evaluate("document.querySelector('noscript p') !== null")
    assert not page.evaluate("document.querySelector('.filter').offsetParent")
    assert page.complaints() == []


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_sticks_out_sideways(page: Page, flow: Path, width: int) -> None:
    page.size(width, phone=width < 500)
    page.open(flow)
    page.until("document.querySelector('[data-interactive]')")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ladders = page.evaluate(
        "[...document.querySelectorAll('svg.ladder')].filter((l) => l.getClientRects().length)"
        ".map((l) => l.getAttribute('class'))"
    )
    assert ladders == ["ladder narrow" if width < 500 else "ladder wide"]


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read(page: Page, flow: Path, dark: bool) -> None:
    """WCAG 2.1 AA: a contrast of 4.5 to 1 for all text."""
    page.media(dark=dark)
    opened(page, flow)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 382) == dark
    assert page.evaluate(CONTRAST) == []


def test_it_prints(page: Page, flow: Path) -> None:
    opened(page, flow)
    page.media(printed=True, dark=True)
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf().startswith(b"%PDF")


def test_the_states_come_from_the_endpoints_logs(page: Page, tmp_path: Path) -> None:
    opened(page, report.write(verify(run_folder(tmp_path)), tmp_path / "report.html"))
    said = page.evaluate(
        "[...document.querySelectorAll('.walk ol')].map((walk) => [...walk.children].map((step) =>"
        " [...step.querySelectorAll('.state, .set')].map((s) => s.textContent).join(' ')))"
    )
    a, b = "0xfffffa", "0x5ec001"
    assert said == [
        ["RESET", "INIT", f"RTR rq_psn = {b}", f"RTS sq_psn = {a}"],
        ["RESET", "INIT", f"RTR rq_psn = {a}", f"RTS sq_psn = {b}"],
    ]
    assert "endpoints' own logs" in page.evaluate("document.getElementById('states').innerText")
    work = page.evaluate(
        "[...document.querySelectorAll('#work tbody tr')].map((row) => row.innerText.split('\\t'))"
    )
    assert work[0] == ["3.000", "A", "SEND", "15", "completed"]
    assert work[2] == ["4.000", "A", "check of SEND", "15", "every byte as expected"]
    assert page.evaluate("document.querySelector('h1').textContent") == "secure-flow"
    assert page.complaints() == []


def test_hostile_names_stay_text(page: Page, tmp_path: Path) -> None:
    capture = tmp_path / "a<img src=x onerror=alert(1)>.pcapng"
    secure_flow(name=HOSTILE, scenario=HOSTILE).write(capture)
    results = verify(capture)
    opened(page, report.write(results, tmp_path / "report.html"))
    assert page.evaluate("document.images.length") == 0
    assert page.evaluate("document.querySelector('h1').textContent") == capture.name
    assert page.complaints() == []


def test_a_wrong_psn_fails_in_words(page: Page, tmp_path: Path) -> None:
    capture = secure_flow(on_wire=0x1234).write(tmp_path / "capture.pcapng")
    opened(page, report.write(verify(capture), tmp_path / "report.html"))
    assert page.evaluate("document.querySelector('.verdict .word').textContent") == "fail"
    moods = page.evaluate(
        "[...document.querySelectorAll('.direction header .tag')].map((t) => t.textContent)"
    )
    assert moods == ["mismatch", "match"]
    assert page.complaints() == []


STRANGERS = {
    "rxe61_single_guest_veth_ipv6ll_rc_pingpong": "not negotiated in this capture",
    "rxe61_ibv_rc_pingpong_ipv6gid0": "told the other in clear",
    "rxe61_cm_rping": "in clear: the sq_psn of A",
    "rxe61_err_rnr": "RNR NAK",
    "rxe61_ibv_ud_pingpong": "UD SEND Only",
    "rxe61_ibv_srq_pingpong": "All connections",
}


@pytest.mark.parametrize(("sample", "words"), STRANGERS.items())
def test_a_strangers_capture_is_shown_for_what_it_is(
    page: Page, tmp_path: Path, sample: str, words: str
) -> None:
    results = verify(SAMPLES / f"{sample}.pcap")
    opened(page, report.write(results, tmp_path / "report.html"))
    assert words in page.evaluate("document.body.innerText")
    assert page.complaints() == []


def test_a_capture_without_roce_says_so(page: Page, tmp_path: Path) -> None:
    scene = secure_flow()
    scene.frames = [frame for frame in scene.frames if frame[23:24] == b"\x06"]
    capture = scene.write(tmp_path / "capture.pcapng")
    opened(page, report.write(verify(capture), tmp_path / "report.html"))
    text = page.evaluate("document.body.innerText")
    assert "No RoCE packet is in this capture" in text
    assert "inconclusive" in text.lower()
    assert page.complaints() == []


def test_many_connections_stay_bounded(page: Page, tmp_path: Path) -> None:
    capture = secure_flow(clients=50).write(tmp_path / "capture.pcapng")
    path = report.write(verify(capture), tmp_path / "report.html")
    assert path.stat().st_size < 3_000_000
    opened(page, path)
    assert page.evaluate("document.querySelectorAll('tr[data-row]').length") == 500
    assert "500 of 1,900 RoCE packets" in page.evaluate("document.body.innerText")
    assert page.complaints() == []
