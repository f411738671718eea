"""The command line. Analysis commands are mounted by import string: nothing of them loads here."""

from __future__ import annotations

import json as json_module
import logging
import os
import signal
import sys
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal, NoReturn, get_args

from cyclopts import App, CycloptsError, Parameter

from dissectors.text import printable
from lab.examples import epilogue

USAGE = 2
INTERRUPTED = 130


def _version() -> str:
    try:
        return version("rocelab")
    except PackageNotFoundError:
        return "not installed"


def _refuse(message: str) -> NoReturn:
    sys.stderr.write(f"rocelab: {printable(message)}\n")
    sys.exit(USAGE)


app = App(
    name="rocelab",
    help="Make real RDMA traffic, capture it, and prove what is on the wire.",
    version=_version,
)
Settings = Annotated[list[str] | None, Parameter(name="--set", negative="")]
Backend = Literal["userspace", "kernel", "vm", "interop"]
CaptureMethod = Literal["auto", "tcpdump", "scapy", "tap"]
Kind = Literal["netns", "userns", "loopback"]
PsnSource = Literal["csprng", "odd", "lrand48", "counter", "qpn", "constant"]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON document.")]


@app.command(help_epilogue=epilogue("run"), help_format="plaintext")
def run(
    scenario: str = "secure-flow",
    /,
    *,
    backend: Backend = "userspace",
    clients: int | None = None,
    family: int | None = None,
    mtu: int | None = None,
    seed: int | None = None,
    psn_source: PsnSource = "csprng",
    capture: CaptureMethod = "auto",
    hosts: Kind | None = None,
    settings: Settings = None,
    kernel: str | None = None,
    kernel_end: Literal["server", "client"] = "server",
    device: str = "",
    faults: Path | None = None,
    dcqcn: int | None = None,
    compare: str | None = None,
    out: Path | None = None,
    json: Json = False,
) -> int:
    """Run a scenario, record it, judge the capture, and write a report.

    Parameters
    ----------
    scenario
        Name (see `rocelab scenarios`) or TOML file.
    backend
        Whose transport: userspace is ours; kernel is this machine's own, through pyverbs; vm is the
        kernel's, in two virtual machines; interop has ours at one end and a guest's kernel at the
        other.
    clients
        Clients at the same time, against one server.
    family
        IP version, 4 or 6.
    mtu
        Path MTU in bytes: 256, 512, 1024, 2048 or 4096.
    seed
        Draw PSNs from this number instead of the system's CSPRNG.
    psn_source
        What chooses starting PSNs at both ends: csprng, or a weak source to be found by `rocelab
        psn`. odd: as rdma-multi-client; lrand48: as perftest; qpn: the queue pair's number.
    capture
        How to record; auto takes the best that works here.
    hosts
        Kind of hosts; without it the best that works here.
    settings
        One of the flow's own numbers, such as size=65536; may be given several times.
    kernel
        Of the virtual machines: a version such as 6.12 that was built, or the folder of an image.
    kernel_end
        Of interop: which end is the kernel.
    device
        Of kernel: this machine's RDMA device, or two with a comma between, the server's first.
    faults
        Fault plan, a TOML file: packets to lose, repeat, delay, reorder, damage or mark.
    dcqcn
        Have our ends slow down when their packets are marked as congested, starting with this link
        rate in Mbit/s.
    compare
        Run on these backends in turn, such as userspace,vm, and show how each recovered from the
        faults; with --out they are folders in it.
    out
        New or empty directory for the run; by default one under runs/.
    json
        Print one JSON document.

    """
    from lab.command import run_compared, run_scenario  # noqa: PLC0415

    given = {"clients": clients, "family": family, "mtu": mtu}
    overrides = {name: value for name, value in given.items() if value is not None}
    start = run_scenario
    if compare is not None:
        backends = compare.split(",")
        if unknown := [each for each in backends if each not in get_args(Backend)]:
            known = ", ".join(get_args(Backend))
            _refuse(f"--compare: expected some of {known}, found {unknown[0]!r}")
        if len(set(backends)) < len(backends):
            _refuse(f"--compare: expected each backend once, found {compare}")
        start = partial(run_compared, backends)
    return start(
        scenario,
        overrides,
        settings or [],
        json=json,
        backend=backend,
        seed=seed,
        psn_source=psn_source,
        capture=capture,
        hosts=hosts,
        kernel=kernel,
        kernel_end=kernel_end,
        device=device,
        faults=faults,
        dcqcn=dcqcn,
        out=out,
    )


@app.command(help_epilogue=epilogue("scenarios"), help_format="plaintext")
def scenarios(name: str | None = None, /) -> None:
    """List the scenarios, or say what one teaches and what to look at."""
    from lab import scenario, terminal  # noqa: PLC0415

    try:
        if name is None:
            terminal.scenario_list([scenario.load(each) for each in scenario.names()])
        else:
            terminal.scenario_page(scenario.load(name))
    except scenario.ScenarioError as error:
        _refuse(str(error))


@app.command(help_epilogue=epilogue("doctor"), help_format="plaintext")
def doctor(question: str | None = None, /, *, json: Json = False) -> None:
    """Try what works on this machine; say why the rest does not and how to mend it.

    Parameters
    ----------
    question
        Answer one of the questions people ask instead; without a name they are listed at the end.
    json
        Print one JSON document.

    """
    if question is not None:
        from lab.terminal import question_page  # noqa: PLC0415

        try:
            question_page(question)
        except ValueError as error:
            _refuse(str(error))
        return
    from lab.doctor import examine  # noqa: PLC0415

    report = examine()
    if json:
        sys.stdout.write(json_module.dumps(report, indent=2) + "\n")
        return
    from lab.terminal import doctor_report  # noqa: PLC0415

    doctor_report(report)


vm = App(name="vm", help="Virtual machines with the kernel's own RDMA (Soft-RoCE).")
app.command(vm)


@vm.command
def build(*, kernel: str | None = None, packages: Path | None = None) -> int:
    """Fetch a kernel and packages with this machine's apt, and build the guests' image.

    What was fetched is kept in the cache (~/.cache/rocelab): interrupted, it goes on from there.

    Parameters
    ----------
    kernel
        Version such as 6.12; without it the distribution's newest. With --packages: the file of a
        linux-image package.
    packages
        Folder of the guest's packages (.deb), where there is no apt; nothing is fetched then.

    """
    from lab.guests import build_image  # noqa: PLC0415

    return build_image(kernel, packages)


@vm.command
def shell(*, kernel: str | None = None, capture: Path | None = None) -> int:
    """Open a shell in a guest, with a second guest on its wire (`telnet server`).

    Parameters
    ----------
    kernel
        A version that was built, such as 6.12, or the folder of an image.
    capture
        Write what passes between the two into this pcapng file.

    """
    from lab.guests import open_shell  # noqa: PLC0415

    return open_shell(kernel, capture)


@app.command(help_epilogue=epilogue("bench"), help_format="plaintext")
def bench(
    *,
    only: Annotated[list[str] | None, Parameter(negative="", consume_multiple=True)] = None,
    seconds: float = 2.0,
    names: Annotated[bool, Parameter(name="--list", negative="")] = False,
    json: Json = False,
    markdown: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Measure the transport on this machine, beside plain sockets in the same run.

    Parameters
    ----------
    only
        Measure these alone (see --list); a ratio to one that is left out is not compared.
    seconds
        About how long each measurement takes.
    names
        List what is measured, and the goals.
    json
        Print one JSON document.
    markdown
        Print the table in Markdown.

    """
    from lab.bench import command  # noqa: PLC0415

    if names:
        command.listing()
        return 0
    if not 0 < seconds <= 3600:
        _refuse(f"expected --seconds above 0 and at most 3600, found {seconds:g}")
    form = "json" if json else "markdown" if markdown else "table"
    return command.run(only or [], seconds, form)


@app.command(help_epilogue=epilogue("tutorial"), help_format="plaintext")
def tutorial(
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="The HTML file.")] = Path(
        "rocelab-tutorial.html"
    ),
) -> None:
    """Write the tutorial: RDMA over Ethernet, packet by packet, as one HTML file."""
    from lab.tutorial import scenarios, transitions  # noqa: PLC0415

    try:
        import_module("analysis.tutorial").write(out, transitions(), scenarios())
    except OSError as error:
        _refuse(f"{error.filename or out}: {error.strerror or error}")
    sys.stdout.write(f"{out}\n")


ANALYSIS = {
    "decode": "Show packets: a line each, -V every field, --json, --fields, or --stats of all.",
    "verify": "Are the negotiated PSNs the ones on the wire?",
    "analyze": "Run every pass and show what each concludes.",
    "report": "Write the HTML report of a run or capture.",
    "figures": "Draw ladder, PSN over time and opcode counts into files.",
    "psn": "How random are the starting PSNs, and what chose them?",
    "compare": "How did runs with the same fault plan recover, side by side?",
    "passes": "List the judgements, or show one's manual page.",
}
for _name, _help in ANALYSIS.items():
    app.command(
        f"analysis.cli:{_name}",
        name=_name,
        help=_help,
        help_epilogue=epilogue(_name),
        help_format="plaintext",  # examples stand as they are
    )


def _show_progress() -> None:
    """Have what takes long on the first use, and says so, say it on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("rocelab: %(message)s"))
    told = logging.getLogger("rocelab")
    told.addHandler(handler)
    told.setLevel(logging.INFO)


def main() -> None:
    """Run one command; the exit status is 0, 1 (fail), 2 (usage) or 3 (inconclusive)."""
    # As Ctrl-C: nothing temporary stays behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if sys.stderr.isatty():
        _show_progress()
    try:
        app(exit_on_error=False)
    except CycloptsError:
        sys.exit(USAGE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, less) has seen enough; nothing may be flushed to it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
