"""A run: hosts, recorder, two ends, and a directory with the evidence, whatever happens."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import shlex
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from captures.convert import to_pcapng
from captures.model import CaptureError
from captures.run import Run, Status, evidence, save
from lab.hosts.launch import launch
from lab.hosts.model import Hosts, HostsError
from lab.recorder.choose import BEST_FIRST, record
from lab.recorder.link import LinkRecorder
from lab.recorder.model import Counts, Recorder, RecorderError
from lab.recorder.tap import TapRecorder
from lab.runner.backends import Setting, make
from lab.runner.certificates import NAMES, Certificate, issue
from lab.runner.ends import Ends
from lab.runner.memory import MemoryFiles
from lab.runner.options import Options

Progress = Callable[[str], None]

LISTEN_SECONDS = 20.0
QUIET_SECONDS = 120.0
"""Longer than any wait of an endpoint: if nothing was written for so long, the run hangs."""
GRACE_SECONDS = 10.0
"""How long one end may outlive the other's failure before it is ended."""

FILTERS = {
    "loopback": "host {server} and host {client} and (tcp port 4433 or udp port 4791)",
    "machine": "udp port 4791 or ether proto 0x8915 or (tcp port 4433 and net 127.0.0.0/8)",
}
"""By kind of hosts. On a veth everything is recorded; elsewhere other programs' packets are none
of ours."""


class RunnerError(Exception):
    """A run that cannot begin; the message says expected, found, and what to do."""


@dataclass(slots=True)
class Progressing:
    """What is known of a run so far: all that run.json will say."""

    directory: Path
    options: Options
    id: str
    started_ns: int
    status: Status = "failed"
    reason: str = ""
    addresses: dict[str, str] = field(default_factory=dict)
    hosts: dict[str, Any] = field(default_factory=dict)
    capture: dict[str, Any] = field(default_factory=dict)
    endpoints: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def fail(self, reason: str) -> None:
        """Keep the first reason: what follows it is mostly its consequence."""
        self.status, self.reason = "failed", self.reason or reason


def execute(options: Options, progress: Progress, setting: Setting | None = None) -> Path:
    """Run the scenario, on hosts of its own or in a `setting` that stays; the directory with the
    evidence.

    Call it from the main thread: everything started dies with it. HostsError or RunnerError
    where it cannot begin; a run that fails or is interrupted says so in its run.json.
    """
    state = _new_directory(options)
    with _interruptions() as (ignore_interruptions, pressed):
        try:
            with contextlib.ExitStack() as stack:
                if setting is None:
                    progress("making hosts")
                    setting = make(options, state.directory, progress)
                    stack.callback(setting.hosts.close)
                _describe(state, setting)
                _recorded(state, setting, progress, ignore_interruptions)
        except HostsError:
            _forget(state.directory)
            raise
        except KeyboardInterrupt:
            state.status, state.reason = "interrupted", "interrupted by a signal"
        except RecorderError as error:
            state.fail(f"nothing can be recorded: {error}")
        ignore_interruptions()
        _save(state)
        if pressed and state.status != "interrupted":
            raise KeyboardInterrupt
    return state.directory


def _describe(state: Progressing, setting: Setting) -> None:
    hosts, family = setting.hosts, state.options.defaults.family
    state.addresses = {host.name: host.address(family) for host in (hosts.server, hosts.client)}
    state.hosts = {"kind": hosts.kind, "why": hosts.why}
    state.versions = dict(setting.versions)
    for host in (hosts.server, hosts.client):
        state.hosts[host.name] = {
            "ip": state.addresses[host.name],
            "interface": host.interface,
            "provider": setting.endpoints[host.name]["backend"],
        }


def _forget(directory: Path) -> None:
    """Leave nothing of a run that could not begin, unless there are logs that tell why."""
    if {path.name for path in directory.iterdir()} <= {"scenario.toml", "faults.toml"}:
        shutil.rmtree(directory)


def _new_directory(options: Options) -> Progressing:
    started_ns = time.time_ns()
    name = options.scenario.name
    identity = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(started_ns // 10**9))}-{name}"
    directory = options.out or _unused(Path("runs") / identity)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise RunnerError(
                f"{directory}: expected a new or empty directory, found files in it; "
                "name another with --out"
            )
        shutil.copyfile(options.scenario.file, directory / "scenario.toml")
        if options.faults:
            shutil.copyfile(options.faults, directory / "faults.toml")
    except OSError as error:
        raise RunnerError(f"{directory}: cannot be written: {error.strerror}") from None
    return Progressing(directory.resolve(), options, identity, started_ns)


def _unused(directory: Path) -> Path:
    candidates = (directory.with_name(f"{directory.name}-{n}") for n in range(2, 1000))
    while directory.exists():
        directory = next(candidates)
    return directory


@contextlib.contextmanager
def _interruptions() -> Iterator[tuple[Callable[[], None], list[int]]]:
    """SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt until the function given is called.

    From then on they are put into the list given.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(_number: int, _frame: object) -> None:
        ignore()
        raise KeyboardInterrupt

    def ignore() -> None:
        for number in numbers:
            signal.signal(number, lambda number, _frame: pressed.append(number))

    pressed: list[int] = []
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield ignore, pressed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _recorded(
    state: Progressing,
    setting: Setting,
    progress: Progress,
    ignore_interruptions: Callable[[], None],
) -> None:
    """Record while the ends talk; turn what was recorded into capture.pcapng, whatever happens."""
    progress("starting the capture")
    recorder = _recorder(state, setting)
    counts: Counts | None = None
    try:
        _converse(state, setting, recorder, progress)
    finally:
        ignore_interruptions()
        progress("finishing the capture")
        try:
            counts = recorder.stop()
        except RecorderError as error:
            state.fail(f"the capture is incomplete: {error}")
        finally:
            recorder.kill()
        _write_capture(state, setting.hosts, recorder, counts)


def _recorder(state: Progressing, setting: Setting) -> Recorder:
    options, hosts = state.options, setting.hosts
    if setting.wires is not None:
        start = functools.partial(launch, start_new_session=True)
        path = state.directory / "capture.partial.pcapng"
        truth = state.directory / "truth-client.jsonl"
        return LinkRecorder(start, setting.wires, path, plan=options.faults, truth=truth)
    interface = hosts.server.interface
    expression = FILTERS.get(hosts.kind, "").format(**state.addresses)
    programs = [p for p in BEST_FIRST if options.capture in {"auto", p}]
    if hosts.kind == "machine":  # several interfaces at once, and nothing that could tap itself
        programs = [p for p in programs if p == "tcpdump"]
        if not programs:
            raise RecorderError(f"expected tcpdump with the kernel backend, not {options.capture}")
    why = "this method was asked for"
    if programs:
        start = functools.partial(hosts.start, "server", start_new_session=True)
        path = state.directory / "capture.partial.pcap"
        try:
            return record(programs, start, interface, path, expression)
        except RecorderError as error:
            path.unlink(missing_ok=True)
            if options.capture != "auto" or hosts.kind == "machine":
                raise
            why = str(error)
    start = functools.partial(hosts.start, "client", start_new_session=True)
    addresses = state.addresses
    return TapRecorder(start, addresses["server"], addresses["client"], state.directory, why=why)


def _converse(
    state: Progressing,
    setting: Setting,
    recorder: Recorder,
    progress: Progress,
) -> None:
    """Start server and client, wait until both have ended; say in `state` how they did."""
    progress("starting the server")
    clients = state.options.defaults.clients
    certificates = issue()
    with ExitStack() as closing:
        ends = closing.enter_context(Ends())
        closing.callback(lambda: state.endpoints.update(_statuses(ends)))
        closing.callback(ends.stop)

        def begin(role: str) -> None:
            with MemoryFiles() as files:
                if state.options.scenario.program:
                    module, config = "lab.endpoint.program", _program(state, role)
                else:
                    module = "lab.endpoint"
                    config = _config(state, role, recorder, certificates[role], files)
                    config.update(setting.endpoints[role])
                path = files.add("config", json.dumps(config).encode())
                process = setting.hosts.start(
                    role,
                    [setting.python, "-m", module, "--config", path],
                    pass_fds=[*files.fds, *setting.fds.get(role, ())],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            ends.add(role, process)

        begin("server")
        server = ends.by_role["server"]
        listening = lambda: server.has_said("listening") or server.status is not None  # noqa: E731
        if not ends.wait(listening, LISTEN_SECONDS):
            state.fail(f"the server did not listen within {LISTEN_SECONDS:g} s")
            return
        if server.status is None:
            progress(f"running {state.options.scenario.name} with {clients} client(s)")
            begin("client")
        _wait(state, ends)
        if ends.failed_first:
            state.fail(ends.failed_first)
        elif not state.reason:
            state.status = "complete"


def _wait(state: Progressing, ends: Ends) -> None:
    """Until both have ended, one has failed, or neither they nor the recorder write anything."""
    written = -1
    while not ends.wait(lambda: ends.ended or bool(ends.failed_first), QUIET_SECONDS):
        before, written = written, sum(p.stat().st_size for p in state.directory.iterdir())
        if written == before:
            state.fail(f"nothing happened for {QUIET_SECONDS:g} s")
            return
    ends.wait(lambda: ends.ended, GRACE_SECONDS)


def _statuses(ends: Ends) -> dict[str, Any]:
    return {role: {"exit_status": end.status} for role, end in ends.by_role.items()}


def _config(
    state: Progressing,
    role: str,
    recorder: Recorder,
    certificate: Certificate,
    files: MemoryFiles,
) -> dict[str, Any]:
    """The endpoint's configuration (lab.endpoint.config.Config)."""
    options, directory, addresses = state.options, state.directory, state.addresses
    config: dict[str, Any] = {
        "role": role,
        "address": addresses[role],
        "ca": files.add("ca", certificate.ca),
        "certificate": files.add("certificate", certificate.chain),
        "key": files.add("key", certificate.key),
        "truth": str(directory / f"truth-{role}.jsonl"),
        "log": str(directory / f"log-{role}.jsonl"),
        "scenario": options.scenario.name,
        "flow": options.scenario.flow,
        "arguments": dict(options.scenario.arguments),
        "clients": options.defaults.clients,
        "path_mtu": options.defaults.mtu,
        "seed": options.seed,
        "psn_source": options.psn_source,
        "dcqcn": options.dcqcn,
    }
    if role in recorder.taps:
        config["tap"] = str(recorder.taps[role])
    if role == "server":
        config["keylog"] = str(directory / "keylog.txt")
    else:
        config["server_name"] = NAMES["server"]
        config["server_address"] = addresses["client" if recorder.taps else "server"]
    return config


def _program(state: Progressing, role: str) -> dict[str, Any]:
    """The configuration of an existing program as an end (lab.endpoint.program.Config)."""
    options, addresses = state.options, state.addresses
    return {
        "role": role,
        "address": addresses[role],
        "server_address": addresses["server"],
        "command": shlex.split(options.scenario.program[role]),
        "output": str(state.directory / f"output-{role}.txt"),
        "path_mtu": options.defaults.mtu,
        "arguments": dict(options.scenario.arguments),
    }


def _write_capture(
    state: Progressing, hosts: Hosts, recorder: Recorder, counts: Counts | None
) -> None:
    directory = state.directory
    keylog = directory / "keylog.txt"
    try:
        recorded = recorder.whole()
        packets = to_pcapng(
            recorded,
            directory / "capture.pcapng",
            key_log=keylog.read_text() if keylog.exists() else "",
            received=counts.received if counts else None,
            dropped=counts.dropped if counts else None,
            name=hosts.server.interface,
            comment=f"rocelab {state.id}, recorded by {recorder.method}",
        )
    except (OSError, CaptureError) as error:
        state.fail(f"the capture cannot be written: {error}")
        return
    recorded.unlink(missing_ok=True)
    for part in recorder.parts:
        part.unlink(missing_ok=True)
    state.capture = {
        "file": "capture.pcapng",
        "method": recorder.method,
        "why": recorder.why,
        "received": counts.received if counts else packets,
        "dropped": counts.dropped if counts else None,
    }


def _save(state: Progressing) -> None:
    options = state.options
    run = Run(
        id=state.id,
        scenario=options.scenario.name,
        backend=options.backend,
        status=state.status,
        reason=state.reason,
        started_ns=state.started_ns,
        ended_ns=time.time_ns(),
        options=options.as_dict(),
        hosts=state.hosts,
        capture=state.capture,
        endpoints=state.endpoints,
        versions={**_versions(), **state.versions},
        sha256=evidence(state.directory),
    )
    try:
        save(state.directory, run)
    except OSError as error:
        because = f" (the run {state.status}: {state.reason})" if state.reason else ""
        raise RunnerError(
            f"{state.directory}: run.json cannot be written: {error.strerror}{because}; "
            "free some space, or name another directory with --out"
        ) from None


def _versions() -> dict[str, str]:
    try:
        rocelab = version("rocelab")
    except PackageNotFoundError:
        rocelab = "not installed"
    return {
        "rocelab": rocelab,
        "python": platform.python_version(),
        "kernel": f"{os.uname().sysname} {os.uname().release}",
        "openssl": ssl.OPENSSL_VERSION,
    }
