"""Real guests: programs in them, and what is left when things go wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import captures
from lab.hosts.linked import LinkedHosts
from lab.hosts.vm.end import GuestEnd
from lab.hosts.vm.errors import VmError
from lab.hosts.vm.guest import PORTS, Guest, Machine, accelerator
from tests.guests import guest_image, guests, linked, run
from tests.lab.leaks import command_lines, held
from tests.requires import tool

pytestmark = pytest.mark.slow

RUNNER = """
import sys, time
from pathlib import Path
from tests.guests import guests
with guests(Path(sys.argv[1])):
    print("booted", flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("it's shared, with commas")


@pytest.fixture(scope="module")
def pair(shared: Path) -> Iterator[LinkedHosts]:
    with guests(shared) as hosts:
        yield hosts


def machines() -> set[int]:
    return {pid for pid, line in command_lines().items() if "qemu-system" in line}


def test_a_program_ends_here_as_it_ends_there(pair: LinkedHosts) -> None:
    assert run(pair, "server", "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")
    assert run(pair, "client", "kill -TERM $$")[0] == -signal.SIGTERM
    assert run(pair, "client", "exec /no/such")[0] == 127


def test_a_program_that_is_not_there(pair: LinkedHosts) -> None:
    with pair.start("server", ["no-such-program"], stderr=subprocess.PIPE) as process:
        _, err = process.communicate(timeout=20)
    assert process.returncode == 127
    assert err == b"cannot run no-such-program: No such file or directory\n"


def test_signals_reach_it(pair: LinkedHosts) -> None:
    script = "trap 'echo told; exit 3' TERM; echo ready; while :; do sleep 0.1; done"
    with pair.start("server", ["sh", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.terminate()
        assert process.stdout.read() == b"told\n"
    assert process.returncode == 3


def test_much_output_is_whole(pair: LinkedHosts) -> None:
    assert run(pair, "server", "seq 100000")[1] == "".join(f"{n}\n" for n in range(1, 100001))


def test_files_are_passed_under_their_numbers(pair: LinkedHosts) -> None:
    fd = os.memfd_create("sample")
    os.write(fd, b"secret")
    with pair.start(
        "client", ["cat", f"/proc/self/fd/{fd}"], pass_fds=[fd], stdout=subprocess.PIPE
    ) as process:
        out, _ = process.communicate(timeout=20)
    os.close(fd)
    assert out == b"secret"


def test_a_folder_is_the_same_here_and_there(pair: LinkedHosts, shared: Path) -> None:
    (shared / "here").write_text("from here")
    status, out, err = run(pair, "server", f'cd "{shared}" && cat here && echo there >there')
    assert (status, out, err) == (0, "from here", "")
    assert (shared / "there").read_text() == "there\n"


def test_its_clock_is_ours(pair: LinkedHosts) -> None:
    script = "import time; print(time.time_ns())"
    with pair.start("client", ["python3", "-c", script], stdout=subprocess.PIPE) as process:
        out, _ = process.communicate(timeout=20)
    assert abs(int(out) - time.time_ns()) < 500_000_000


def test_its_clock_runs_at_our_pace(pair: LinkedHosts) -> None:
    """Emulated, the TSC's rate would be a guess, and on a busy machine a wrong one."""
    file = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
    expected = "kvm-clock" if accelerator() == "kvm" else "hpet"
    assert run(pair, "server", f"cat {file}")[1].strip() == expected


def test_ports_are_used_again_even_after_a_kill(pair: LinkedHosts) -> None:
    for _ in range(PORTS + 1):
        with pair.start("server", ["sleep", "60"]) as process:
            process.kill()
    assert run(pair, "server", "echo fine")[1] == "fine\n"
    assert run(pair, "server", "pgrep -f 'sleep 60' | wc -l")[1].strip() in {"0", "1"}


def test_as_many_programs_as_ports(pair: LinkedHosts) -> None:
    running = [pair.start("client", ["sleep", "60"]) for _ in range(PORTS)]
    with pytest.raises(VmError, match=f"at most {PORTS}"):
        pair.start("client", ["true"])
    for process in running:
        process.terminate()
    assert [process.wait(20) for process in running] == [-signal.SIGTERM] * PORTS


def test_the_link_carries_and_records_both_sides(pair: LinkedHosts, tmp_path: Path) -> None:
    file = tmp_path / "link.pcapng"
    with linked(pair, file):
        assert run(pair, "client", "ping -c 2 server")[0] == 0
        assert run(pair, "client", "ping -c 2 fd00::1")[0] == 0
    with captures.open(file) as capture:
        frames = list(capture.frames())
        names = [interface.name for interface in capture.interfaces]
    assert names == ["server", "client"]
    by_side = [sorted(f.data for f in frames if f.interface == side) for side in (0, 1)]
    assert by_side[0] == by_side[1]
    echo = bytes.fromhex("0800")  # EtherType IPv4
    assert sum(f.data[12:14] == echo and f.data[23] == 1 for f in frames) == 8


def test_kernel_pingpong_crosses_the_link(pair: LinkedHosts, tmp_path: Path) -> None:
    file = tmp_path / "pingpong.pcapng"
    command = "ibv_rc_pingpong -g 1 -n 10"
    with (
        linked(pair, file),
        pair.start("server", command.split(), stdout=subprocess.DEVNULL) as server,
    ):
        deadline = time.monotonic() + 20
        while run(pair, "client", f"{command} server")[0]:  # until it listens
            assert time.monotonic() < deadline
        assert server.wait(20) == 0
    with captures.open(file) as capture:
        ports = [frame.data[36:38] for frame in capture.frames()]
    assert ports.count((4791).to_bytes(2, "big")) >= 4 * 10 * 2  # SEND and ACK, two ways, two sides


def test_a_panic_ends_the_guest_and_says_so(tmp_path: Path) -> None:
    with guests(tmp_path) as hosts:
        status, _, err = run(hosts, "client", "echo c >/proc/sysrq-trigger; sleep 60")
        assert status == 1
        assert "guest ended" in err
        client = hosts.ends["client"]
        assert isinstance(client, GuestEnd)
        client.guest.process.wait(20)
        assert run(hosts, "server", "echo alive")[1] == "alive\n"
    assert "Kernel panic" in (tmp_path / "console-client.log").read_text(errors="replace")


def test_a_setup_that_fails_is_told() -> None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, there:
        guest = Guest(Machine("alone", guest_image(), there, "02:00:00:00:00:09"))
    with closing(guest), pytest.raises(VmError, match="alone did not start: oh no"):
        guest.boot("echo oh no >&2; false")


def test_nothing_is_left(tmp_path: Path) -> None:
    guest_image()
    before, running = held(), machines()
    with guests(tmp_path):
        assert len(machines() - running) == 2
    assert held() == before
    assert machines() == running
    assert {path.name for path in tmp_path.iterdir()} == {
        "console-server.log",
        "console-client.log",
    }


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_guests_die_with_whoever_made_them(tmp_path: Path, number: signal.Signals) -> None:
    guest_image()
    running = machines()
    with subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == b"booted\n"
        assert len(machines() - running) == 2
        runner.send_signal(number)
        runner.wait(20)
    deadline = time.monotonic() + 10
    while machines() != running:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_shell_takes_a_script(tmp_path: Path) -> None:
    guest_image()
    capture = tmp_path / "shell.pcapng"
    done = subprocess.run(
        [sys.executable, "-m", "lab.cli", "vm", "shell", "--capture", capture],
        input="ping -c 1 server >/dev/null && ibv_devices\nexit 5\n",
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 5
    assert "rxe0" in done.stdout
    with captures.open(capture) as opened:
        assert sum(1 for _ in opened.frames()) >= 4


def test_the_shell_at_a_terminal() -> None:
    tool("script")
    guest_image()
    command = f"{sys.executable} -m lab.cli vm shell"
    with subprocess.Popen(
        ["script", "--quiet", "--return", "--command", command, "/dev/null"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as terminal:
        assert terminal.stdin is not None
        assert terminal.stdout is not None
        seen = b""
        while b"# " not in seen:
            seen += os.read(terminal.stdout.fileno(), 4096)
        terminal.stdin.write(b"tty; stty size\r")
        terminal.stdin.flush()
        while b"/dev/hvc0" not in seen:
            seen += os.read(terminal.stdout.fileno(), 4096)
        terminal.stdin.write(b"exit\r")
        terminal.stdin.flush()
        terminal.stdout.read()
    assert terminal.returncode == 0
