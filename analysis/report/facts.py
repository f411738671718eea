"""Facts about the capture and the run, and how to check them with other programs."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import Any

import numpy as np

from analysis.report.material import Material
from dissectors import icrc


def facts(material: Material) -> list[tuple[str, str]]:
    """Names and values; what is not known is not there."""
    table, run = material.table, material.context.run
    times = table["time_ns"]
    roce = int(np.count_nonzero(material.context.roce))
    found = [
        ("File", str(material.file.name)),
        ("Frames", f"{len(table):,}, {roce:,} of them RoCE"),
    ]
    if len(times):
        span = (int(times.max()) - int(times.min())) / 1e9
        found.append(("Captured", f"{moment(material.start_ns)}, {span:.3f} s long"))
    found.append(("ICRC", _icrc(table)))
    found += [("Damage", str(damage)) for damage in material.context.capture.damage]
    if run is not None:
        told = run.capture
        found.append(("Captured by", _joined(told.get("method"), told.get("why"))))
        if isinstance(told.get("dropped"), int):
            found.append(("Frames dropped while capturing", f"{told['dropped']:,}"))
        found.append(("Hosts", _joined(run.hosts.get("kind"), run.hosts.get("why"))))
        found.append(("Run", f"{run.id}: {_joined(run.status, run.reason)}"))
        found.append(("Backend", run.backend))
        found += [(f"Version of {name}", str(value)) for name, value in run.versions.items()]
    return [(name, value) for name, value in found if value]


def fingerprints(material: Material) -> list[tuple[str, str]]:
    """Evidence file and its SHA-256, as the run recorded them."""
    run = material.context.run
    return [] if run is None else [(name, str(value)) for name, value in run.sha256.items()]


def _icrc(table: Any) -> str:
    status = table["icrc_status"]
    counts = {
        "correct": icrc.ICRC_OK,
        "wrong": icrc.ICRC_BAD,
        "not checkable": icrc.ICRC_UNCHECKABLE,
    }
    return ", ".join(f"{int((status == code).sum()):,} {name}" for name, code in counts.items())


def _joined(what: Any, why: Any) -> str:
    return f"{what} ({why})" if what and why else str(what or "")


def moment(time_ns: int) -> str:
    """UTC, to the second; empty for a time no calendar has."""
    try:
        when = datetime.fromtimestamp(time_ns / 1e9, tz=UTC)
    except (OverflowError, OSError, ValueError):
        return ""
    return when.strftime("%Y-%m-%d %H:%M:%S UTC")


def commands(material: Material) -> list[tuple[str, str]]:
    """What a command shows, and the command: the same numbers by another program, and by ours."""
    context = material.context
    file = shlex.quote(material.file.name)
    checks = []
    frames = [j.frame for j in material.judgements if j.frame is not None][:2]
    if frames:
        chosen = " || ".join(f"frame.number == {frame}" for frame in frames)
        command = f"tshark -r {file} -Y '{chosen}' -T fields -e infiniband.bth.psn"
        checks.append(("The PSNs of the first requests, as tshark reads them:", command))
    decrypted = sorted(context.witness.decrypted)
    if decrypted and context.capture.secrets:
        command = f"tshark -r {file} -q -z follow,tls,ascii,{decrypted[0]}"
        checks.append(("What the ends said inside TLS, decrypted by tshark:", command))
    command = f"rocelab verify {shlex.quote(material.file.name)}"
    checks.append(("Our own verdict again:", command))
    return checks
