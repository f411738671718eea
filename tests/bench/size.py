"""Time and memory of commands on captures of 1 to 10 GB: `python -m tests.bench.size`.

Goals: memory does not grow with the file and stays under 1 GB for one of 10 GB; time is linear. The
captures are WRITEs of 1.1 KB packets, repeated; each is read once before it is measured, so that
the disk has no part in it where there is memory to keep the file. Needs 11 GB of disk.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.bench.child import rocelab

GB = 10**9
BLOCK = 90_000
"""Packets of the piece that is repeated: about 90 MB."""
MEMORY = 1 << 30
LINEAR = 1.5
"""Most that a byte of the largest file may take, of what one of the smallest takes."""

COMMANDS = {
    "stats": ("decode", "--stats"),
    "filter": ("decode", "--filter", "aeth and bth.psn > 0xffff"),
    "fields": ("decode", "--filter", "bth.psn == 7", "--fields", "frame,src,bth.psn"),
    "write": ("decode", "--filter", "bth.psn > 0xffff", "-w", "/dev/null"),
    "lines": ("decode",),
    "verify": ("verify",),
}
USUAL = ("stats", "filter", "fields")
"""Those that are measured unless others are named; the rest do more for each packet."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a command took: times in seconds, `size` of the file and peak `memory` in bytes."""

    size: int
    wall: float
    cpu: float
    memory: int

    def __str__(self) -> str:
        return (
            f"  {self.size / GB:5.1f} GB {self.wall:9.2f} s {self.cpu:9.2f} s of CPU "
            f"{self.size / self.wall / GB:7.2f} GB/s {self.memory / (1 << 20):7.0f} MiB"
        )


def pieces(kind: str, folder: Path) -> None:
    """Write `head`, what a file of a kind begins with, and `piece`: packets that may follow it any
    number of times.
    """
    from captures import open as open_capture
    from captures.pcapng_writer import Writer
    from tests.bench.decode import generate

    path = folder / "piece.pcap"
    generate(path, BLOCK, 1024)
    content, start = path.read_bytes(), 24
    if kind == "pcapng":
        stream = io.BytesIO()
        writer = Writer(stream)
        writer.interface()
        start = stream.tell()
        for frame in open_capture(path).frames():
            writer.packet(frame.data, frame.time_ns)
        content = stream.getvalue()
    path.unlink()
    (folder / "head").write_bytes(content[:start])
    (folder / "piece").write_bytes(content[start:])


def grown(kind: str, sizes: list[float], folder: Path) -> Iterator[Path]:
    """A file that grows to each of the sizes (GB), in order."""
    # In a process of its own: what this one takes counts as memory of those that it starts.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(pieces, kind, folder).result()
    path = folder / f"large.{kind}"
    with path.open("wb") as file, (folder / "piece").open("rb") as piece:
        file.write((folder / "head").read_bytes())
        for size in sorted(sizes):
            while file.tell() < size * GB:
                piece.seek(0)
                shutil.copyfileobj(piece, file)
            file.flush()
            yield path


def measure(command: tuple[str, ...], path: Path) -> Run:
    """Run `rocelab` once; its peak memory is what the kernel says of it when it has ended."""
    words = [command[0], str(path), *command[1:]]
    done = rocelab(words, keep=False)
    if done.status not in (0, 1, 3):
        raise SystemExit(f"rocelab {' '.join(words)} ended with status {done.status}")
    return Run(path.stat().st_size, done.seconds, done.cpu, done.peak)


def judged(runs: list[Run]) -> str:
    """The goals held against the smallest and the largest file."""
    first, last = runs[0], runs[-1]
    each = (last.cpu / last.size) / (first.cpu / first.size)
    goals = (
        (f"peak memory {last.memory >> 20} MiB, goal < {MEMORY >> 20}", last.memory < MEMORY),
        (f"CPU time of a byte {each:.2f} times the smallest's, goal <= {LINEAR}", each <= LINEAR),
    )
    return "\n".join(f"  {what}: {'reached' if met else 'MISSED'}" for what, met in goals)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=float, nargs="+", default=[1, 2, 4, 10], help="in GB")
    parser.add_argument("--kinds", nargs="+", choices=["pcap", "pcapng"], default=["pcap"])
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=USUAL)
    parser.add_argument("--folder", type=Path, default=None, help="where there is room")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        if shutil.disk_usage(folder).free < (max(asked.sizes) + 1) * GB:
            raise SystemExit(f"{folder}: not enough room; --folder names another place")
        for kind in asked.kinds:
            runs: dict[str, list[Run]] = {command: [] for command in asked.commands}
            for path in grown(kind, [0.1], folder):
                measure(COMMANDS["stats"], path)  # compiles, where that was not done before
            for path in grown(kind, asked.sizes, folder):
                subprocess.run(["cat", path], stdout=subprocess.DEVNULL, check=True)
                for command, done in runs.items():
                    done.append(measure(COMMANDS[command], path))
                    print(f"{kind} {command:8}{done[-1]}", flush=True)
            for command, done in runs.items():
                print(f"\nrocelab {' '.join(COMMANDS[command])}, {kind}")
                print(*done, judged(done), sep="\n")
            path.unlink()


if __name__ == "__main__":
    main()
