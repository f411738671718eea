"""How fast `rocelab psn` is: `python -m tests.bench.psn`.

Searches: the seeds that explain two PSNs of lrand48(), all 2^25 of them covered, beside numpy
trying them all and libc's own functions called through ctypes (which get a part, scaled up); each
is to find the same seed. The state of a Mersenne Twister and glibc's srand(second) by themselves.

Surveys: captures of random starting PSNs, judged by `rocelab psn` in a process of its own: wall
clock, processor time of it and its children, peak resident memory. Where the cost is linear,
`CPU/10k` is the same from row to row.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from analysis.fingerprints import twister
from analysis.fingerprints.streams import lrand48_seeds, lrand48_stream, random_seeds
from tests.analysis.scene import A, B
from tests.bench.child import heads, rocelab, row
from tests.bench.sources import MASK, START, libc, lrand48
from tests.bench.verify import CM, DATA, PERFTEST, Batch, Column, Kind, write

SEED = 0x1ABCDEF
SEEDS = 1 << 25
CTYPES_PART = 1 << 16
CHUNK = 1 << 20
BEST_OF = 3
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def by_numpy(psns: list[int]) -> list[int]:
    found: list[int] = []
    mask = np.uint64((1 << 48) - 1)
    for first in range(0, SEEDS, CHUNK):
        state = np.arange(first, first + CHUNK, dtype=np.uint64) << np.uint64(16) | np.uint64(
            0x330E
        )
        fits = np.ones(CHUNK, bool)
        for psn in psns:
            state = (state * np.uint64(0x5DEECE66D) + np.uint64(11)) & mask
            fits &= (state >> np.uint64(17) & np.uint64(MASK)) == psn
        found += (np.flatnonzero(fits) + first).tolist()
    return found


def by_libc(psns: list[int]) -> list[int]:
    found = []
    for seed in range(SEED - CTYPES_PART // 2, SEED + CTYPES_PART // 2):
        libc.srand48(seed)
        if all(libc.lrand48() & MASK == psn for psn in psns):
            found.append(seed)
    return found


def cpu(action: Callable[[], object]) -> tuple[float, object]:
    """Least processor seconds of BEST_OF, and the result."""
    best, result = float("inf"), None
    for _ in range(BEST_OF):
        start = time.process_time()
        result = action()
        best = min(best, time.process_time() - start)
    return best, result


def searches() -> None:
    psns = lrand48(SEED, 2)
    mine, found = cpu(lambda: lrand48_seeds(psns))
    print("search                                              CPU seconds       ratio")
    print(f"{'2^25 seeds of lrand48, rocelab':52}{mine:12.6f}")
    assert [seed for seed, _ in found] == [SEED]  # type: ignore[attr-defined]
    for name, search, scale in (
        ("2^25 seeds of lrand48, numpy, all tried", by_numpy, 1),
        ("2^25 seeds of lrand48, libc by ctypes, scaled up", by_libc, SEEDS // CTYPES_PART),
    ):
        seconds, theirs = cpu(lambda search=search: search(psns))
        assert theirs == [SEED]
        print(f"{name:52}{scale * seconds:12.3f}{scale * seconds / mine:12,.0f}")
    values = np.array(lrand48(SEED, 3000)[::3])
    sole = np.unique(values)
    seconds, _ = cpu(lambda: lrand48_stream(int(values[0]), int(values[1]), sole, 128))
    print(f"{'stream of lrand48 under 1,000 PSNs, gaps of 3':52}{seconds:12.6f}")
    rng = np.random.RandomState(1)
    outputs = rng.randint(0, 1 << 24, size=twister.ENOUGH)
    seconds, _ = cpu(lambda: twister.following(outputs, 0, 1))
    print(f"{'state of a Mersenne Twister from 1,247 PSNs':52}{seconds:12.3f}")
    now = START // 10**9
    libc.srandom(now - 5)
    drawn = np.array([libc.random() & MASK for _ in range(3)])
    seeds = np.concatenate((np.arange(1 << 16), np.arange(now - 2 * 86400, now + 2)))
    seconds, by_second = cpu(lambda: random_seeds(drawn, seeds))
    assert by_second == [now - 5]
    print(f"{f'{len(seeds):,} seeds of random()':52}{seconds:12.3f}")


class Drawn(Batch):
    """Connections whose PSNs a good mixing function (splitmix64) gives."""

    def psn(self, end: str) -> Column:
        x = (self.number.astype(np.uint64) * np.uint64(4) + np.uint64(ord(end[-1]) % 4)) * GOLDEN
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            x = (x ^ x >> np.uint64(shift)) * np.uint64(factor)
        found: Column = (x >> np.uint64(31) & np.uint64(MASK)).astype(np.int64)
        return found


def capture(*kinds: Kind) -> Callable[[Path, int], list[str]]:
    def make(path: Path, connections: int) -> list[str]:
        write(path, connections, kinds, Drawn)
        return [str(path)]

    return make


def listed(path: Path, connections: int) -> list[str]:
    numbers = Batch(np.arange(connections)).number
    psns = np.stack([Drawn(numbers).psn(end) for end in (A, B)], axis=1).reshape(-1)
    path.write_text("".join(f"{psn:#08x}\n" for psn in psns))
    return ["--values", str(path)]


SURVEYS: dict[str, Callable[[Path, int], list[str]]] = {
    "rdma-cm": capture(*CM, *DATA),
    "CM alone": capture(*CM),
    "perftest": capture(*PERFTEST, *DATA),
    "no exchange": capture(*DATA),
    "--values": listed,
}
"""What is surveyed: makes the file, and gives the words of the command."""


def survey(name: str, connections: int, path: Path) -> None:
    """Generate, judge, print a row."""
    done = rocelab(["psn", *SURVEYS[name](path, connections), "--json"])
    document = json.loads(done.output)
    as_expected = (done.status, document["count"]) == (0, 2 * connections)
    note = "" if as_expected else f"  {document['verdict']}, {document['count']} starting PSNs"
    each = done.cpu / connections * 10_000
    print(row(name, connections, path.stat().st_size, done, each=each, note=note), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", default="10000,30000,100000")
    parser.add_argument("--surveys", default=",".join(SURVEYS))
    given = parser.parse_args()
    searches()
    print(f"\n{heads('survey', 'CPU/10k')}")
    for name in given.surveys.split(","):
        for connections in map(int, given.connections.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                survey(name, connections, Path(folder) / "bench.pcap")


if __name__ == "__main__":
    main()
