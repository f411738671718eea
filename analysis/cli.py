"""The commands that judge and show: verify, analyze, report, figures, compare, passes, decode.

Exit status: 0 pass, 1 fail, 2 usage or unreadable input, 3 inconclusive.
"""

from __future__ import annotations

import contextlib
import gc
import json as json_module
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from cyclopts import App, Parameter

from dissectors.text import printable

if TYPE_CHECKING:
    from analysis.document import Results
    from analysis.survey import Survey

STATUS = {"pass": 0, "fail": 1, "inconclusive": 3, "not-applicable": 3}
FAIL, USAGE, INCONCLUSIVE = 1, 2, 3

Source = Annotated[Path, Parameter(help="A run directory, or a capture: pcap, pcapng, ERF.")]
MoreFiles = Annotated[
    Path, Parameter(help="Captures of the same traffic taken elsewhere (the other end).")
]
KeyLogFile = Annotated[
    Path | None, Parameter(help="TLS key log (NSS format); goes before secrets in the capture.")
]
TruthFiles = Annotated[
    list[Path] | None,
    Parameter(negative="", help="Endpoint log (truth-*.jsonl); may be given several times."),
]
LogFiles = Annotated[
    list[Path] | None,
    Parameter(name="--log", negative="", help="What pingpong or perftest printed; repeatable."),
]
Expected = Annotated[
    list[str] | None,
    Parameter(name="--expect", negative="", help="IP:QPN=PSN that was agreed; repeatable."),
]
All = Annotated[
    bool, Parameter(name="--all", negative="", help="List connections that match, too: all.")
]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON document.")]

app = App(name="rocelab", help="Judge RDMA captures.")


@app.command
def verify(
    path: Source,
    /,
    *more: MoreFiles,
    keylog: KeyLogFile = None,
    truth: TruthFiles = None,
    log: LogFiles = None,
    expect: Expected = None,
    junit: Annotated[Path | None, Parameter(help="Write a JUnit file there too.")] = None,
    annotate: Annotated[
        Path | None, Parameter(help="Write the capture there as pcapng with packet comments.")
    ] = None,
    every: All = False,
    json: Json = False,
) -> NoReturn:
    """Are the PSNs that were negotiated the ones on the wire?"""
    with _judging(path, json=json):
        results = _results(path, keylog, truth, log=log or (), expect=expect or (), more=more)
    try:
        _write_files(results, junit, annotate)
    except OSError as error:
        _refuse(f"{error.filename}: {error.strerror or error}")
    _print(results, json=json, every=every)
    if not (keylog or truth or log or expect):
        with contextlib.suppress(OSError):  # somebody else's run may be read only
            _keep(results)
    sys.exit(STATUS[results.verdict])


def _write_files(results: Results, junit: Path | None, annotate: Path | None) -> None:
    if junit is not None:
        from analysis.junit import write  # noqa: PLC0415

        write(results, junit)
    if annotate is not None:
        from analysis.annotate import annotate as write_annotated  # noqa: PLC0415

        write_annotated(results, annotate)


@app.command
def analyze(
    path: Source,
    /,
    *,
    keylog: KeyLogFile = None,
    truth: TruthFiles = None,
    every: All = False,
    json: Json = False,
    report: Annotated[Path | None, Parameter(help="Write the HTML report there too.")] = None,
) -> NoReturn:
    """Run every pass and show what each concludes."""
    with _judging(path, json=json):
        results = _results(path, keylog, truth, every=True)
    with contextlib.ExitStack() as after:
        # After what was found is said: there may be no room for a page. And though nobody reads on.
        if report is not None:
            after.callback(_write_report, results, report)
        if not (keylog or truth):
            after.callback(_keep_or_refuse, results)
        _print(results, json=json, every=every)
        sys.stdout.flush()
    sys.exit(STATUS[results.verdict])


def _keep_or_refuse(results: Results) -> None:
    try:
        _keep(results)
    except OSError as error:
        _refuse(f"{error.filename or results.context.path}: {error.strerror or error}")


@app.command
def report(
    path: Source,
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="The HTML file.")] = None,
    keylog: KeyLogFile = None,
    truth: TruthFiles = None,
) -> None:
    """Write the HTML report of a run or capture."""
    target = out or (path / "report.html" if path.is_dir() else path.with_suffix(".html"))
    with _judging(path, json=False):
        results = _results(path, keylog, truth, every=True)
    _write_report(results, target)
    sys.stdout.write(f"{printable(str(target))}\n")


@app.command
def figures(
    path: Source,
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="The folder.")] = None,
    formats: Annotated[
        str, Parameter(name="--formats", help="Of svg, png and pdf, with commas between.")
    ] = "svg,png,pdf",
    keylog: KeyLogFile = None,
    truth: TruthFiles = None,
) -> None:
    """Draw ladder, PSN over time and opcode counts into files."""
    from analysis.figures.export import FORMATS, export  # noqa: PLC0415 - loads vl-convert
    from analysis.report.gallery import gallery  # noqa: PLC0415

    wanted = formats.split(",")
    if unknown := [each for each in wanted if each not in FORMATS]:
        _refuse(f"--formats: expected {', '.join(FORMATS)}, found {unknown[0]!r}")
    target = out or (path if path.is_dir() else path.parent) / "figures"
    with _judging(path, json=False):
        results = _results(path, keylog, truth, every=True)
    try:
        drawings = gallery(results)
        written = export(drawings, target, wanted)
    except OSError as error:
        _refuse(f"{error.filename or target}: {error.strerror or error}")
    for file in written:
        sys.stdout.write(f"{printable(str(file))}\n")


@app.command
def decode(
    path: Annotated[
        Path,
        Parameter(help="pcap, pcapng or ERF; - is standard input.", allow_leading_hyphen=True),
    ],
    /,
    *,
    tree: Annotated[bool, Parameter(name="-V", negative="", help="Every field.")] = False,
    hex: Annotated[bool, Parameter(negative="", help="The bytes too.")] = False,  # noqa: A002
    json: Annotated[bool, Parameter(negative="", help="A JSON object a line.")] = False,
    fields: Annotated[
        str, Parameter(help="Only these, with commas between: bth.psn,reth.va or tshark's names.")
    ] = "",
    filter: Annotated[  # noqa: A002 - what everyone calls it
        str, Parameter(help="Only packets for which this holds: 'bth.opcode == RC_ACKNOWLEDGE'.")
    ] = "",
    count: Annotated[int | None, Parameter(name=["--count", "-c"], help="At most so many.")] = None,
    write: Annotated[
        Path | None, Parameter(name=["--write", "-w"], help="Write them to a pcapng file instead.")
    ] = None,
    stats: Annotated[bool, Parameter(negative="", help="Counts over the whole file.")] = False,
    roce_port: Annotated[int, Parameter(help="UDP port of RoCEv2.")] = 4791,
) -> None:
    """Show packets: a line each, -V every field, --json, --fields, or --stats of all."""
    import captures  # noqa: PLC0415 - --help stays quick
    from analysis.listing.run import ListingError, Options  # noqa: PLC0415
    from analysis.listing.run import decode as show  # noqa: PLC0415

    form = "json" if json else "tree" if tree else "line"
    options = Options(
        form=form,
        hex=hex,
        fields=tuple(name.strip() for name in fields.split(",") if name.strip()),
        expression=filter,
        write=write,
        count=count,
        stats=stats,
        roce_port=roce_port,
    )
    try:
        with captures.open(path) as capture:
            show(capture, options, sys.stdout)
            sys.stdout.flush()
            for damage in capture.seen_damage:
                sys.stderr.write(f"rocelab: {path}: {damage}\n")
    except (ListingError, captures.CaptureError) as error:
        _refuse(str(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        _refuse(f"{error.filename or path}: {error.strerror or error}")


@app.command
def psn(
    *paths: Annotated[Path, Parameter(help="Captures or run directories.")],
    values: Annotated[
        Path | None, Parameter(help="A file of PSNs, one a line; QPN and time (ns) may follow.")
    ] = None,
    keylog: KeyLogFile = None,
    json: Json = False,
    report: Annotated[Path | None, Parameter(help="Write an HTML page there too.")] = None,
    figures: Annotated[
        Path | None, Parameter(help="Draw them into this folder too: SVG, PNG and PDF.")
    ] = None,
) -> NoReturn:
    """How random are the starting PSNs, and what chose them?

    rocelab psn monday.pcap tuesday.pcap --report psn.html

    rocelab psn --values psns.txt
    """
    if not paths and values is None:
        _refuse("psn: expected captures, or --values FILE")
    from analysis import survey  # noqa: PLC0415 - loads scipy and numba
    from analysis.collect import collect  # noqa: PLC0415

    with _judging((*paths, values or Path())[0], json=json):
        found = survey.survey(collect(paths, values, keylog))
    inputs = [*paths, *([values] if values else [])]
    with contextlib.ExitStack() as after:
        # After what was found is said: there may be no room for a page. And though nobody reads on.
        after.callback(_draw_survey, found, inputs, report, figures)
        if json:
            from analysis.document import lines  # noqa: PLC0415

            sys.stdout.writelines(lines(survey.members(found)))
        else:
            from analysis.terminal import show_survey  # noqa: PLC0415 - loads rich

            show_survey(found)
        sys.stdout.flush()
    sys.exit(STATUS[found.verdict])


def _draw_survey(
    found: Survey, paths: Sequence[Path], report: Path | None, figures: Path | None
) -> None:
    """The page and the drawings that were asked for."""
    try:
        if report is not None:
            from analysis.report.survey import write  # noqa: PLC0415 - loads altair

            write(found, paths, report)
        if figures is not None:
            from analysis.figures.export import export  # noqa: PLC0415 - loads vl-convert
            from analysis.report.starting import drawings  # noqa: PLC0415

            export(drawings(found), figures)
    except OSError as error:
        _refuse(f"{error.filename or report or figures}: {error.strerror or error}")


@app.command
def compare(
    *runs: Annotated[Path, Parameter(help="Run directories.")], json: Json = False
) -> NoReturn:
    """How did these runs recover from the same faults? Exit status: 0 in the same way, 1 not."""
    if len(runs) < 2:
        _refuse(f"compare: expected two runs or more, found {len(runs)}")
    from analysis.compare import compare as line_up  # noqa: PLC0415 - loads numpy
    from analysis.compare import document  # noqa: PLC0415

    with _judging(runs[0], json=json):
        comparison = line_up(runs)
    if json:
        sys.stdout.write(_text(document(comparison)))
    elif comparison.rows:
        from analysis.terminal import show_comparison  # noqa: PLC0415 - loads rich

        show_comparison(comparison)
    else:
        sys.stdout.write("nothing to compare: no packet was lost or changed in any of them\n")
    sys.exit(INCONCLUSIVE if not comparison.rows else 0 if comparison.same else FAIL)


@app.command
def passes(name: str | None = None, /) -> None:
    """List the judgements, or show one's manual page."""
    from analysis import fingerprints  # noqa: PLC0415 - loads numpy
    from analysis import passes as judging  # noqa: PLC0415

    pages = dict.fromkeys(judging.PASSES, judging.manual)
    pages |= dict.fromkeys(fingerprints.FINGERPRINTS, fingerprints.manual)
    if name is None:
        for each, page in pages.items():
            sys.stdout.write(f"{each:<20} {page(each).partition(chr(10))[0]}\n")
    elif name == "psn-source":
        parts = [judging.manual(name), *map(_fingerprint_page, fingerprints.FINGERPRINTS)]
        sys.stdout.write("\n\n".join(parts) + "\n")
    elif name in pages:
        sys.stdout.write(f"{pages[name](name)}\n")
    else:
        _refuse(f"no pass {name!r}; there are: {', '.join(pages)}")


def _fingerprint_page(name: str) -> str:
    """One of those that a pass' page goes on with."""
    from analysis.fingerprints import manual  # noqa: PLC0415 - loads numpy

    return f"{name}\n{'-' * len(name)}\n{manual(name)}"


def _results(
    path: Path,
    keylog: Path | None,
    truth: list[Path] | None,
    *,
    log: Sequence[Path] = (),
    expect: Sequence[str] = (),
    more: Sequence[Path] = (),
    every: bool = False,
) -> Results:
    from analysis.verify import verify as judge  # noqa: PLC0415 - loads numpy and pyshark

    results = judge(path, keylog, truth or (), log=log, expect=expect, more=more, every=every)
    gc.freeze()  # all of it stays until the end: nobody needs to look through it for garbage
    return results


@contextlib.contextmanager
def _judging(path: Path, *, json: bool) -> Iterator[None]:
    """What cannot be read is refused; who asked for a document gets one that says so."""
    from analysis.verify import Unreadable  # noqa: PLC0415 - loads numpy and pyshark

    try:
        yield
    except Unreadable as error:
        if json:
            from analysis.document import unreadable  # noqa: PLC0415

            sys.stdout.write(_text(unreadable(path, str(error))))
        _refuse(str(error))


def _print(results: Results, *, json: bool, every: bool) -> None:
    if json:
        from analysis.document import text  # noqa: PLC0415

        sys.stdout.writelines(text(results))
        sys.stdout.flush()
        return
    from analysis.terminal import show  # noqa: PLC0415 - loads rich

    show(results, every=every)


def _text(document: dict[str, Any]) -> str:
    return json_module.dumps(document, indent=2) + "\n"


def _keep(results: Results) -> None:
    """Write a run's results.json, whole or not at all; raises OSError."""
    from analysis.document import text  # noqa: PLC0415

    if results.context.folder is None:
        return
    target = results.context.folder / "results.json"
    part = target.with_suffix(".part")
    try:
        with part.open("w", encoding="utf-8") as stream:
            stream.writelines(text(results))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _write_report(results: Results, out: Path) -> None:
    from analysis.report import write  # noqa: PLC0415 - loads altair

    try:
        write(results, out)
    except OSError as error:
        _refuse(f"{error.filename or out}: {error.strerror or error}")


def _refuse(message: str) -> NoReturn:
    sys.stderr.write(f"rocelab: {printable(message)}\n")
    sys.exit(USAGE)


if __name__ == "__main__":
    app()
