"""Can this capture prove anything?

Looks at the evidence before anyone judges by it: does the capture hold RoCE packets at all (and if
not, what instead); is the file whole; did the capturing program drop packets; were packets cut by a
snap length; do TCP acknowledgements tell of bytes that the capture misses; and, for a run
directory, is every file still the one that was recorded (SHA-256), did the run complete, and do the
devices' packet counters agree with the packets in the capture.

The sums and counters show what was changed by accident, or by somebody who changed one thing and
not the rest. They are not signed: who has the TLS keys (they are in the run) and edits the capture,
TLS records included, the logs and the sums until all agree has made another run, and no judgement
here can tell. What payloads hold is for the ends to compare (`checked` in their logs), not for
these passes.

Verdicts: *pass*; *fail* if evidence was changed after the run (`evidence-changed`,
`counters-disagree`, `count-disagrees`); *inconclusive* if there is no RoCE (`no-roce`), the run did
not complete (`run-not-complete`) or lost its keys (`keys-missing`), or packets are missing
(`file-damaged`, `packets-dropped`, `packets-cut`, `tcp-gap`). `captures-merged` remarks how several
files were put together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address

import numpy as np

from analysis import vantage
from analysis.context import Context
from analysis.finding import Finding, PassResult, Severity, Verdict
from analysis.merge import MergedCapture
from captures.run import edited
from captures.truth import Truth
from dissectors.bth import BTH
from dissectors.census import hierarchy
from dissectors.damage import DamageCode
from dissectors.decode import V4_MAPPED
from dissectors.table import PacketTable

COUNTERS = (("sent_pkts", "src"), ("rcvd_pkts", "dst"))


def run(context: Context) -> PassResult:
    """All checks; each finding says what it weighs."""
    findings = tuple(finding for check in CHECKS for finding in check(context))
    packets, roce = len(context.table), int(context.roce.sum())
    summary = f"{packets} packets, {roce} of them RoCE"
    grave = {finding.severity for finding in findings}
    verdict = (
        Verdict.FAIL
        if Severity.ERROR in grave
        else Verdict.INCONCLUSIVE
        if Severity.WARNING in grave
        else Verdict.PASS
    )
    return PassResult(verdict, summary, findings)


def holds_roce(context: Context) -> Iterator[Finding]:
    """`no-roce`: nothing to judge; the message says what there is."""
    if context.roce.any():
        return
    innermost: Counter[str] = Counter()
    for path, count in hierarchy(context.table).items():
        innermost[path[-1]] += count
    held = ", ".join(f"{count} {name}" for name, count in innermost.most_common()) or "nothing"
    yield Finding(
        "no-roce",
        Severity.WARNING,
        f"no RoCE packet in this capture (UDP port 4791, or EtherType 0x8915): it holds {held}; "
        "capture on the interface under the RDMA device (rocelab doctor no-packets says why)",
    )


def file_is_whole(context: Context) -> Iterator[Finding]:
    """`file-damaged`: the reader could not make sense of a part of the file."""
    for damage in context.capture.damage:
        yield Finding("file-damaged", Severity.WARNING, f"the capture file is damaged: {damage}")


def nothing_dropped(context: Context) -> Iterator[Finding]:
    """`packets-dropped`: the capturing program says that it lost some."""
    recorded = context.run.capture.get("dropped") if context.run else None
    dropped = [interface.dropped for interface in context.capture.interfaces]
    lost = max([recorded if isinstance(recorded, int) else 0, *(n or 0 for n in dropped)])
    if lost:
        yield Finding(
            "packets-dropped",
            Severity.WARNING,
            f"{lost} packets were dropped while capturing: what is missing may lie there",
        )


def nothing_cut(context: Context) -> Iterator[Finding]:
    """`packets-cut`: RoCE packets captured with fewer bytes than they had."""
    cut = np.flatnonzero(context.roce & (context.table["damage"] == DamageCode.CUT))
    if len(cut):
        yield Finding(
            "packets-cut",
            Severity.WARNING,
            f"{len(cut)} RoCE packets were cut by a snap length",
            context.frames(cut),
        )


def no_tcp_gap(context: Context) -> Iterator[Finding]:
    """`tcp-gap`: bytes of a TCP stream that its receiver acknowledged are not in the capture."""
    for stream in context.streams:
        missing = stream.from_client.missing + stream.from_server.missing
        if missing:
            yield Finding(
                "tcp-gap",
                Severity.WARNING,
                f"TCP stream {stream.number} ({stream.client[0]}:{stream.client[1]} to "
                f"{stream.server[0]}:{stream.server[1]}): the capture misses {missing} bytes",
                stream.frames[:1],
            )


def run_is_unchanged(context: Context) -> Iterator[Finding]:
    """`evidence-changed`: a file of the run is not the one that was recorded."""
    if context.run is None or context.folder is None:
        return
    for problem in edited(context.folder, context.run):
        yield Finding("evidence-changed", Severity.ERROR, problem)


def run_is_complete(context: Context) -> Iterator[Finding]:
    """`run-not-complete`: an end failed or was interrupted."""
    if context.run is not None and context.run.status != "complete":
        yield Finding(
            "run-not-complete",
            Severity.WARNING,
            f"the run {context.run.status}: {context.run.reason or 'no reason recorded'}",
        )


def keys_are_there(context: Context) -> Iterator[Finding]:
    """`keys-missing`: every run keeps the secrets of its TLS; without them nobody can check it."""
    tls = [stream.number for stream in context.streams if stream.is_tls]
    if context.run is not None and tls and not context.key_log.text:
        yield Finding(
            "keys-missing",
            Severity.WARNING,
            f"expected the secrets of {len(tls)} TLS sessions (keylog.txt, the capture), "
            "found none: what was negotiated rests on the endpoints' word",
        )


def count_agrees(context: Context) -> Iterator[Finding]:
    """`count-disagrees`: the file holds another number of packets than were recorded."""
    if context.run is None:
        return
    received, dropped = (context.run.capture.get(key) for key in ("received", "dropped"))
    held = len(context.whole)
    lost = dropped if isinstance(dropped, int) else 0
    if isinstance(received, int) and not received - lost <= held <= received:
        yield Finding(
            "count-disagrees",
            Severity.ERROR,
            f"run.json records {received} captured packets, {lost} of them dropped; "
            f"the capture holds {held}",
        )


def counters_agree(context: Context) -> Iterator[Finding]:
    """`counters-disagree`: a device sent more or fewer RoCE packets than captured, or got more.

    Devices need not count as received what arrived damaged or for no queue pair (rxe drops what
    comes for a closed one before it counts): they may count fewer than arrived, not more. In a run
    without drops all was recorded, so that packets were taken out or put in; a capture without its
    run need not hold all that the endpoint counted.
    """
    recorded = context.run is not None and not context.run.capture.get("dropped")
    if not context.truths:
        return
    arrived = context.whole.select(vantage.arriving(context.whole))
    views = {"sent_pkts": context.table, "rcvd_pkts": arrived}
    for name, truth in context.truths.items():
        # Counters only grow: what a device said last is what it came to.
        devices = {
            repr(event.get("device")): event.get("counters") for event in truth.named("counters")
        }
        counters = [said for said in devices.values() if isinstance(said, dict)]
        addresses = _own_addresses(truth)
        if not addresses or not counters:
            continue
        for counter, side in COUNTERS:
            counted = sum(n for said in counters if isinstance(n := said.get(counter), int))
            seen = sum(_packets(views[counter], side, ip) for ip in addresses)
            if counted > seen or (counted < seen and counter == "sent_pkts"):
                yield Finding(
                    "counters-disagree",
                    Severity.ERROR if recorded else Severity.WARNING,
                    f"{name}: its devices counted {counter} {counted}, the capture holds {seen}: "
                    f"packets were {'taken out' if counted > seen else 'put in'}",
                )


def _own_addresses(truth: Truth) -> set[str]:
    """The IP addresses that the endpoint negotiated with."""
    ends = (event.get("local") for event in truth.named("negotiated"))
    found = (end.get("ip") for end in ends if isinstance(end, dict))
    return {ip for ip in found if isinstance(ip, str)}


def _packets(table: PacketTable, side: str, ip: str) -> int:
    """RoCE packets whose `side` (src or dst) is `ip`."""
    try:
        address = ip_address(ip)
    except ValueError:
        return 0
    packed = address.packed if address.version == 6 else V4_MAPPED + address.packed
    wanted = np.frombuffer(packed, np.uint64)
    column = np.ascontiguousarray(table[side][table.has(BTH)])
    return int((column.view(np.uint64).reshape(-1, 2) == wanted).all(axis=1).sum())


def put_together(context: Context) -> Iterator[Finding]:
    """`captures-merged`: several files were put together; how they fit."""
    if isinstance(context.capture, MergedCapture):
        yield Finding("captures-merged", Severity.INFO, context.capture.note)


CHECKS = (
    holds_roce,
    put_together,
    file_is_whole,
    nothing_dropped,
    nothing_cut,
    no_tcp_gap,
    run_is_unchanged,
    run_is_complete,
    keys_are_there,
    count_agrees,
    counters_agree,
)
