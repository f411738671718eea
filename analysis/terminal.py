"""Results as text for people: the verdict, who said what about each PSN, then what to look at."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.compare import end_name, fault_name
from analysis.conversations import Connection
from analysis.document import Results
from analysis.finding import (
    WITNESSES,
    Answer,
    Finding,
    Judgement,
    PsnVerdict,
    Severity,
    Status,
    Verdict,
)
from analysis.negotiated import Convention
from dissectors.text import printable

if TYPE_CHECKING:
    from analysis.compare import Comparison
    from analysis.survey import Survey  # loads scipy

LISTED = 40
"""Directions that do not match, and findings, that are shown; the rest is counted."""
MATCHING = 10
"""Connections shown in which all matches."""
FRAMES = 8
WIDE = 160
"""Columns of a table that goes to a file."""
NOT_ASKED = Answer(Status.MISSING)
ALIKE = 3
"""Findings shown of each kind that is no error."""
COLUMNS = {
    "direction": 9,
    "announced": 9,
    "first request": 13,
    "frame": 6,
    "verdict": 15,
}
"""Columns of the table and their widths; the witnesses' columns follow."""
WITNESS_WIDTH = 6

COLOURS = {
    Verdict.PASS: "bold green",
    Verdict.FAIL: "bold red",
    Verdict.INCONCLUSIVE: "bold yellow",
    Verdict.NOT_APPLICABLE: "dim",
}
MOODS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "dim"}
HEADLINES = {
    Verdict.PASS: "the PSNs on the wire are the negotiated ones",
    Verdict.FAIL: "this capture does not bear out what was negotiated",
    Verdict.INCONCLUSIVE: "this capture cannot prove it, one way or the other",
    Verdict.NOT_APPLICABLE: "nothing to judge",
}
PREDICTABLE = "the starting PSNs are not random"
TLS_UNCHECKED = "the PSNs on the wire are those that were logged; TLS itself was not checked"
SIGNS = {Status.AGREES: "yes", Status.DISAGREES: "NO", Status.MISSING: "-", Status.FAILED: "failed"}
SIGN_COLOURS = {Status.AGREES: "green", Status.DISAGREES: "red", Status.FAILED: "yellow"}


def show(results: Results, console: Console | None = None, *, every: bool = False) -> None:
    """Print `results`; `every` connection, or those that tell something and a few that match."""
    console = console or Console(highlight=False, soft_wrap=True)
    console.print(
        Text.assemble(
            (str(results.verdict).upper(), COLOURS[results.verdict]),
            f"  {_headline_of(results)}",
        )
    )
    for name, result in results.passes.items():
        verdict = Text(f"{result.verdict!s:<15}", COLOURS[result.verdict])
        console.print(Text.assemble("  ", verdict, f"{name:<18} {printable(result.summary)}"))
    _directions(console, results, every=every)
    _absent(console, results.judgements)
    _findings(console, results.findings)


def _headline_of(results: Results) -> str:
    if results.source_alone:
        return PREDICTABLE
    if results.verdict is Verdict.PASS and results.tls_unchecked:
        return TLS_UNCHECKED
    return HEADLINES[results.verdict]


def _directions(console: Console, results: Results, *, every: bool) -> None:
    judgements = results.judgements
    if not judgements:
        return
    shown = judgements if every else telling(judgements)
    console.print()
    heard = {name: None for judgement in judgements for name in judgement.witnesses}
    columns = COLUMNS | {name.removeprefix("endpoint_"): WITNESS_WIDTH for name in heard}
    console.print(Text("  ".join(name.ljust(width) for name, width in columns.items()), "dim"))
    above = None
    for judgement in shown:
        if judgement.connection != above:
            above = judgement.connection
            connection = results.context.conversations.connections[above]
            console.print(Text(printable(_headline(connection)), "bold"))
        cells = zip(_row(judgement, heard), columns.values(), strict=True)
        console.print(Text("  ").join(_padded(cell, width) for cell, width in cells))
    hidden = {j.connection for j in judgements} - {j.connection for j in shown}
    odd = {j.connection for j in judgements if j.verdict is not PsnVerdict.MATCH}
    for count, what in ((len(hidden - odd), "match"), (len(hidden & odd), "do not match")):
        if count:
            console.print(f"{count} more connections {what}; verify --all or --json shows them")


def _headline(connection: Connection) -> str:
    told = ", ".join(dict.fromkeys(said.source for said in connection.negotiated)) or "nothing"
    return (
        f"{connection.number}: a {connection.a}, b {connection.b} "
        f"({connection.transport or 'no packet'}, negotiated by {told}{_convention(connection)}, "
        f"paired by {connection.paired_by})"
    )


def _convention(connection: Connection) -> str:
    """Whose PSN it is that an end announced: its own, or the one it expects."""
    if not connection.negotiated:
        return ""
    receiver = any(s.convention is Convention.RECEIVER_CHOOSES for s in connection.negotiated)
    return f" ({Convention.RECEIVER_CHOOSES if receiver else Convention.SENDER_CHOOSES})"


def _padded(cell: Text, width: int) -> Text:
    cell.pad_right(max(0, width - len(cell)))
    return cell


def telling(judgements: Sequence[Judgement]) -> list[Judgement]:
    """Both directions of connections with the first LISTED that do not match, and of the first
    MATCHING connections that do, in order.
    """
    odd = [j for j in judgements if j.verdict is not PsnVerdict.MATCH]
    without = {j.connection for j in odd}
    even = list(dict.fromkeys(j.connection for j in judgements if j.connection not in without))
    shown = {j.connection for j in odd[:LISTED]} | {*even[:MATCHING]}
    chosen = [j for j in judgements if j.connection in shown]
    return sorted(chosen, key=lambda j: (j.connection, j.sender))


def _row(judgement: Judgement, witnesses: Iterable[str]) -> list[Text]:
    other = "b" if judgement.sender == "a" else "a"
    good = judgement.verdict is PsnVerdict.MATCH
    return [
        Text(f"  {judgement.sender} to {other}"),
        Text(_hex(judgement.announced)),
        Text(_hex(judgement.first)),
        Text("-" if judgement.frame is None else str(judgement.frame)),
        Text(str(judgement.verdict), "green" if good else "yellow"),
        *(_sign(judgement, judgement.witnesses.get(name, NOT_ASKED)) for name in witnesses),
    ]


def _hex(psn: int | None) -> str:
    return "-" if psn is None else f"{psn:#08x}"


def _sign(judgement: Judgement, answer: Answer) -> Text:
    if judgement.announced is None and answer.status is Status.AGREES:
        return Text("seen", "dim")  # there is nothing to agree with
    return Text(SIGNS[answer.status], SIGN_COLOURS.get(answer.status, "dim"))


def _absent(console: Console, judgements: Iterable[Judgement]) -> None:
    """Why witnesses that nobody heard are missing, each reason once."""
    reasons = {
        (name, judgement.witnesses[name].detail): None
        for judgement in judgements
        for name in WITNESSES
        if judgement.witnesses[name].status is Status.MISSING and judgement.first is not None
    }
    for name, why in list(reasons)[:LISTED]:
        console.print(Text(printable(f"  witness {name} missing: {why}"), "dim"))


def _findings(console: Console, findings: Sequence[Finding]) -> None:
    order = [Severity.ERROR, Severity.WARNING, Severity.INFO]
    ranked = _thinned(sorted(findings, key=lambda finding: order.index(finding.severity)))
    if ranked:
        console.print()
    for finding in ranked[:LISTED]:
        where = "" if finding.connection is None else f" (connection {finding.connection})"
        console.print(
            Text.assemble(
                (f"{finding.severity!s:<8}", MOODS[finding.severity]),
                f"{finding.code}{where}: {printable(finding.message)}",
            )
        )
        if finding.frames:
            console.print(Text(f"        look at {_filter(finding.frames)}", "dim"))
    if len(ranked) > LISTED:
        console.print(f"and {len(ranked) - LISTED} more findings (--json has all)")


def _thinned(findings: Sequence[Finding]) -> list[Finding]:
    """All but what is no error and of a kind that was shown ALIKE times already."""
    shown: Counter[str] = Counter()
    kept = []
    for finding in findings:
        shown[finding.code] += 1
        if finding.severity is Severity.ERROR or shown[finding.code] <= ALIKE:
            kept.append(finding)
    grave = {finding.code for finding in findings if finding.severity is Severity.ERROR}
    more = [
        Finding(code, Severity.INFO, f"and {count - ALIKE} more like this")
        for code, count in shown.items()
        if count > ALIKE and code not in grave
    ]
    return kept + more


def _filter(frames: Sequence[int]) -> str:
    """A Wireshark display filter that shows these frames."""
    if len(frames) == 1:
        return f"frame.number == {frames[0]}"
    more = f" and {len(frames) - FRAMES} more" if len(frames) > FRAMES else ""
    return f"frame.number in {{{', '.join(map(str, frames[:FRAMES]))}}}{more}"


def show_survey(survey: Survey, console: Console | None = None) -> None:
    """Print how random starting PSNs are and what chose them."""
    console = console or Console(highlight=False, soft_wrap=True)
    verdict = Text(str(survey.verdict).upper(), COLOURS[survey.verdict])
    console.print(Text.assemble(verdict, f"  {printable(survey.headline)}"))
    console.print(Text(f"  {survey.meaning}"))
    for match in survey.matches:
        console.print()
        console.print(Text(f"{match.name}: {printable(match.says)}", "bold"))
        console.print(f"  explains {match.explained} of {match.of}; by chance {match.chance}")
        for prediction in match.predictions:
            seen = "not seen yet" if prediction.seen is None else f"seen {prediction.seen:#08x}"
            sign = " = as predicted" if prediction.true else ""
            console.print(f"  predicted {prediction.predicted:#08x}, {seen}{sign}")
    console.print()
    rejected = {test.name for test in survey.rejected}
    for test in survey.tested:
        if test.p is None:
            continue
        p = f"p {test.p:<5.3f}"
        mark = Text("REJECTS", "red") if test.name in rejected else Text(p, "dim")
        sees = f" (would show {test.sees})" if test.sees and test.name not in rejected else ""
        console.print(Text.assemble("  ", mark, f"  {test.name:<24} {test.says}{sees}"))
    untold = [f"{test.name} ({test.needs})" for test in survey.tested if test.p is None]
    if untold:
        console.print(Text(f"  too few draws for (needed): {', '.join(untold)}", "dim"))
    for one in survey.entropy:
        bits = "-" if one.bits is None else f"{one.bits:.1f} bits"
        console.print(f"  min-entropy {bits:>9}  {one.name}: {one.says}")
    for what, count in survey.needed:
        console.print(Text(f"  it takes {count:,} draws to show {what}", "dim"))
    if survey.shown_bits is not None:
        console.print(
            f"  the least of them, {survey.shown_bits:.1f} bits, is what these draws prove"
        )


def show_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print, fault by fault, how each run recovered; then who departs from the standard."""
    console = console or Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("fault", *(side.name for side in comparison.sides), "same"):
        table.add_column(title, overflow="fold")
    for row in comparison.rows:
        reactions = ["-" if one is None else str(one) for one in row.reactions]
        same = Text("yes", "green") if row.same else Text("NO", "yellow")
        table.add_row(Text(fault_name(row.fault)), *map(Text, reactions), same)
    console.print(table)
    console.print()
    for side in comparison.sides:
        heading = f"{side.name}: {'departs' if side.departures else 'departs nowhere'} from the"
        console.print(Text(f"{heading} standard (IBTA vol. 1){':' if side.departures else ''}"))
        for fault, departure in side.departures:
            end = end_name(side, departure.end)
            console.print(Text(f"  {fault_name(fault)}: the {end} {departure.text}"))
