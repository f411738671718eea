"""From a run directory or a capture to results: read, decrypt, pair, ask the witness, judge."""

from __future__ import annotations

import gc
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import captures
from analysis import conversations, exchanges, passes, sequences, vantage
from analysis.context import Context, KeyLog, SecondWitness
from analysis.dialogue import Dialogue, Said
from analysis.document import Results
from analysis.exchanges import expect as expect_exchange
from analysis.exchanges import truth as truth_exchange
from analysis.finding import worst
from analysis.merge import AnyCapture, merge
from analysis.negotiated import Negotiated
from analysis.streams import Stream, streams
from analysis.witness import Evidence, NoWitness
from captures.files import read_whole
from captures.run import Run, RunError, load
from captures.truth import Truth, TruthError, read
from dissectors.table import PacketTable

CAPTURE = "capture.pcapng"
KEY_LOG = "keylog.txt"
MAX_TEXT = 1 << 26
"""Longest key log or program output believed, bytes."""
ASKED = 1000
"""Frames tshark reads BTH of; it takes over a millisecond for each."""
VERSIONS = {
    0x0300: "SSLv3",
    0x0301: "TLSv1",
    0x0302: "TLSv1.1",
    0x0303: "TLSv1.2",
    0x0304: "TLSv1.3",
}


class Unreadable(Exception):  # noqa: N818 (says what is the matter with the input)
    """An input that cannot be used; the text says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The files there are to judge by. `outputs` of a run's programs may tell nothing; given `logs`
    must.
    """

    path: Path
    capture: Path
    truths: tuple[Path, ...]
    key_log: Path | None
    logs: tuple[Path, ...] = ()
    outputs: tuple[Path, ...] = ()
    expected: tuple[Negotiated, ...] = ()
    more: tuple[Path, ...] = ()
    folder: Path | None = None
    run: Run | None = None


def verify(
    path: str | Path,
    keylog: str | Path | None = None,
    truth: Sequence[str | Path] = (),
    *,
    log: Sequence[str | Path] = (),
    expect: Sequence[str] = (),
    more: Sequence[str | Path] = (),
    every: bool = False,
) -> Results:
    """Judge a run directory or a capture file: are the negotiated PSNs the ones on the wire?

    Asks `every` pass, or only those of that question (all but passes.APART).

    `keylog` (NSS format) goes before the secrets inside the capture, `truth` files (endpoint logs)
    before those of the run; `log` files are what pingpong or perftest printed; `expect` says
    `IP:QPN=PSN`. `more` are captures of the same traffic taken elsewhere, put together with this
    one. Raises Unreadable.
    """
    try:
        said = tuple(expect_exchange.read(one) for one in expect)
    except ValueError as error:
        raise Unreadable(f"--expect: {error}") from error
    with readable(path), no_collecting():
        inputs = find(Path(path), keylog, truth, [Path(one) for one in more])
        logs = tuple(Path(one) for one in log)
        return judge(gather(replace(inputs, logs=logs, expected=said)), every=every)


@contextmanager
def no_collecting() -> Iterator[None]:
    """No cyclic garbage collection: what is made here is kept, and there are millions of it."""
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()


@contextmanager
def readable(path: str | Path) -> Iterator[None]:
    """What goes wrong with a file named in or by `path` becomes Unreadable."""
    try:
        yield
    except (captures.CaptureError, RunError, TruthError) as error:
        raise Unreadable(str(error)) from error
    except OSError as error:
        raise Unreadable(f"{error.filename or path}: {error.strerror or error}") from error


def find(
    path: Path,
    keylog: str | Path | None,
    truth: Sequence[str | Path],
    more: Sequence[Path] = (),
) -> Inputs:
    """Which files `path` means, and what else was given."""
    for one in (path, *more) if more else ():
        if one.is_dir():
            raise Unreadable(f"{one}: expected a capture file among several, found a directory")
    given = tuple(Path(one) for one in truth)
    key_log = None if keylog is None else Path(keylog)
    if not path.is_dir():
        return Inputs(path, path, given, key_log, more=tuple(more))
    run = load(path)
    capture = path / str(run.capture.get("file", CAPTURE))
    truths = given or tuple(sorted(path.glob("truth-*.jsonl")))
    outputs = tuple(sorted(path.glob("output-*.txt")))
    return Inputs(path, capture, truths, key_log, outputs=outputs, folder=path, run=run)


def gather(inputs: Inputs, *, ask_bth: bool = True) -> Context:
    """Read everything and pair it up; ask tshark what TLS hides, and how it reads BTH."""
    capture: AnyCapture = (
        merge([inputs.capture, *inputs.more]) if inputs.more else captures.open(inputs.capture)
    )
    whole = capture.table()
    rows = vantage.leaving(whole)
    table = whole if len(rows) == len(whole) else whole.select(rows)
    truths = _truths(inputs.truths)
    tcp = streams(table)
    key_log = _key_log(inputs, capture)
    evidence = Evidence(capture, table)
    witness, dialogues = _dialogues(table, tcp, key_log, evidence)
    statements = [
        *exchanges.from_dialogues(dialogues),
        *exchanges.from_table(table),
        *(said for name, log in truths.items() for said in truth_exchange.read(log, name)),
        *(said for path in inputs.logs for said in _printed(path)),
        *(said for path in inputs.outputs for said in exchanges.from_log(_text(path), path.name)),
        *inputs.expected,
    ]
    paired = conversations.build(table, statements)
    laid_out = sequences.lay_out(table, paired)
    return Context(
        path=inputs.path,
        capture=capture,
        table=table,
        whole=whole,
        streams=tcp,
        dialogues=dialogues,
        statements=statements,
        conversations=paired,
        sequences=laid_out,
        witness=_read_bth(evidence, laid_out, witness) if ask_bth else witness,
        key_log=key_log,
        truths=truths,
        folder=inputs.folder,
        run=inputs.run,
    )


def judge(context: Context, *, every: bool = False) -> Results:
    """Run the passes. All that is applicable must pass, and the PSNs must have been compared."""
    asked = [name for name in passes.PASSES if every or name not in passes.APART]
    found = {name: passes.run(name, context) for name in asked}
    verdict = worst(result.verdict for result in found.values())
    return Results(context, found, verdict)


def _truths(paths: Iterable[Path]) -> dict[str, Truth]:
    """Endpoint logs by file name; by whole path where two have the same name."""
    logs: dict[str, Truth] = {}
    for path in paths:
        logs[str(path) if path.name in logs else path.name] = read(path)
    return logs


def _printed(path: Path) -> list[Negotiated]:
    """What a program's output tells. Raises Unreadable if it is nobody's we know."""
    text = _text(path)
    said = exchanges.from_log(text, path.name)
    if not said:
        raise Unreadable(
            f"{path}: expected the output of ibv_*_pingpong or perftest (`local address:` with "
            f"QPN and PSN, `remote address:`), found neither in {len(text)} characters"
        )
    return said


def _text(path: Path) -> str:
    return read_whole(path, MAX_TEXT).decode(errors="replace")


def _key_log(inputs: Inputs, capture: AnyCapture) -> KeyLog:
    if inputs.key_log is not None:
        return _read_key_log(inputs.key_log)
    if capture.secrets:
        return KeyLog(capture.secrets, "the capture's secrets block")
    beside = inputs.capture.with_name(KEY_LOG)
    if beside.is_file():
        return _read_key_log(beside)
    return KeyLog()


def _read_key_log(path: Path) -> KeyLog:
    return KeyLog(read_whole(path, MAX_TEXT).decode("ascii", "replace"), str(path))


def _dialogues(
    table: PacketTable, tcp: Sequence[Stream], key_log: KeyLog, evidence: Evidence
) -> tuple[SecondWitness, list[Dialogue]]:
    """What was said over TCP, in clear or decrypted, and what could not be decrypted."""
    undecrypted = {s.number: _no_key(s, key_log) for s in tcp if s.is_tls}
    with_key = [s for s in tcp if s.is_tls and not undecrypted[s.number]]
    absent = ""
    plain: Mapping[int, list[tuple[int, bytes]]] = {}
    try:
        plain = evidence.decrypted(with_key, key_log.text)
    except NoWitness as error:
        absent = str(error)
    for stream in with_key:
        undecrypted[stream.number] = absent or (
            "" if plain[stream.number] else f"tshark cannot decrypt it with {key_log.origin}"
        )
    parts = [plain.get(s.number, []) if s.is_tls else list(_in_clear(s)) for s in tcp]
    carrying = np.array([frame for said in parts for frame, _ in said], np.uint64)
    times = table["time_ns"][table["frame"].searchsorted(carrying)].tolist()
    time_ns = dict(zip(carrying.tolist(), times, strict=True))
    talk = [_dialogue(s, said, time_ns) for s, said in zip(tcp, parts, strict=True)]
    decrypted = frozenset(number for number, why in undecrypted.items() if not why)
    left = {number: why for number, why in undecrypted.items() if why}
    return SecondWitness(decrypted, left, absent=absent), [d for d in talk if d.said]


def _no_key(stream: Stream, key_log: KeyLog) -> str:
    """Why `stream` cannot be decrypted, as far as its hello tells; empty if it may."""
    random = stream.hello.get("client_random")
    if not key_log.text:
        return "there is no TLS key log (--keylog FILE)"
    if random is None:
        return "its TLS handshake was not captured"
    if random not in key_log.client_randoms:
        return f"{key_log.origin} holds no secrets of this TLS session"
    return ""


def _in_clear(stream: Stream) -> Iterator[tuple[int, bytes]]:
    for sent in (stream.from_client, stream.from_server):
        bounds = [*sent.offsets, len(sent.data)][1:]
        for start, end, frame in zip(sent.offsets, bounds, sent.frames, strict=True):
            yield frame, sent.data[start:end]


def _dialogue(
    stream: Stream, parts: Iterable[tuple[int, bytes]], time_ns: Mapping[int, int]
) -> Dialogue:
    client = {*stream.from_client.frames}
    said = tuple(
        Said(frame in client, frame, time_ns[frame], data)
        for frame, data in sorted(parts, key=lambda part: part[0])
    )
    return Dialogue(stream.number, stream.client, stream.server, said, _tls(stream))


def _tls(stream: Stream) -> dict[str, Any] | None:
    """Version and cipher suite by name, as the hellos say; None for a stream in clear."""
    if not stream.is_tls:
        return None
    version, cipher = stream.hello.get("version"), stream.hello.get("cipher")
    named: dict[str, Any] = {}
    if version is not None:
        named["version"] = VERSIONS.get(version, f"{version:#06x}")
    if cipher is not None:
        named["cipher"] = _ciphers().get(cipher, f"{cipher:#06x}")
    return named


@cache
def _ciphers() -> dict[int, str]:
    return {c["id"] & 0xFFFF: c["name"] for c in ssl.create_default_context().get_ciphers()}


def _read_bth(
    evidence: Evidence, laid_out: sequences.Sequences, witness: SecondWitness
) -> SecondWitness:
    first = laid_out.first[laid_out.first >= 0][:ASKED]
    frames = evidence.table["frame"][laid_out.rows[first]].tolist()
    try:
        return replace(witness, asked=frozenset(frames), bth=evidence.bth(frames))
    except NoWitness as error:
        return replace(witness, absent=str(error))
