"""What chose the PSNs: each source by its own code (libc, Python, numpy), found and foretold."""

from __future__ import annotations

import ctypes
import random
from pathlib import Path

import numpy as np
import pytest

from analysis.draws import Draw
from analysis.fingerprints import FINGERPRINTS, find, manual, mt19937
from analysis.fingerprints.lrand48 import origin_of, stream
from analysis.fingerprints.streams import first_seeds, lrand48_seeds, seeded
from analysis.survey import of_files, survey

SAMPLES = Path(__file__).parents[2] / "captures" / "samples"
MASK = 0xFFFFFF
libc = ctypes.CDLL("libc.so.6")
libc.lrand48.restype = libc.random.restype = ctypes.c_long
libc.srand48.argtypes = [ctypes.c_long]
libc.srandom.argtypes = [ctypes.c_uint]


def draws(psns, **known):
    return [Draw(int(psn), drawer="10.0.0.1", **known) for psn in psns]


def lrand48(seed, count):
    libc.srand48(seed)
    return [libc.lrand48() & MASK for _ in range(count)]


def libc_random(seed, count):
    libc.srandom(seed)
    return [libc.random() & MASK for _ in range(count)]


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**31 - 1, -1, 1732152345 * 4242])
def test_our_lrand48_is_libc_s(seed):
    assert stream(seeded(seed), 20) == lrand48(seed, 20)


def test_the_two_seeds_that_one_psn_leaves():
    """Backwards from the PSN, and by trying all 2^25."""
    for seed in (1, 77777, 0x1FFFFFF):
        (psn,) = lrand48(seed, 1)
        found = first_seeds(psn)
        assert seed in found
        assert sorted(found) == sorted(s for s, _ in lrand48_seeds(np.array([psn])))


def test_a_seed_is_found_from_its_later_draws():
    psns = lrand48(0x155AA55, 10)[8:]
    assert (0x155AA55, 8) in lrand48_seeds(np.array(psns), 8)


def test_queue_pairs_of_one_process():
    (match,) = find(draws(lrand48(987654321, 6), process="p"))
    assert match.name == "lrand48"
    assert match.explained == 6
    assert [p.true for p in match.predictions] == [True] * 4 + [False]
    assert match.predictions[-1].predicted == lrand48(987654321, 7)[-1]


def test_process_that_drew_before():
    (match,) = find(draws(lrand48(31337, 9)[4:], process="p"))
    assert match.name == "lrand48"
    assert "4 drawn before" in match.says


def test_stream_that_began_long_ago():
    """Ceph: one generator, other draws in between."""
    generator = lrand48(4711, 400)
    (match,) = find(draws([generator[at] for at in (300, 301, 305, 311, 312)]))
    assert match.name == "lrand48"
    assert match.explained == 5
    assert match.predictions[-1].predicted == generator[313]


def test_pid_times_second():
    """srand48(getpid() * time(NULL)): two processes, one PSN each, seconds before the exchange."""
    now = 1_763_700_000
    found = []
    for pid, age in ((216, 2), (194, 1)):
        seed = ctypes.c_int32(pid * (now - age) & 0xFFFFFFFF).value
        (psn,) = lrand48(seed, 1)
        process = f"p{pid}"
        found += draws([psn], process=process, time_ns=now * 10**9)
        chance, found_pid, second = origin_of(first_seeds(psn), now * 10**9)
        assert (found_pid, second) == (pid, now - age)
        assert chance < 0.02
    (match,) = find(found)
    assert match.name == "lrand48"
    assert match.explained == 2


def test_real_pingpong_processes_are_found_with_their_next_psns():
    """ibv_srq_pingpong -q 4: two PSNs give the seed, the capture has the other two."""
    found = survey(of_files([SAMPLES / "rxe61_ibv_srq_pingpong.pcap"], None, None))
    assert [match.name for match in found.matches] == ["lrand48", "lrand48"]
    for match in found.matches:
        assert [p.true for p in match.predictions] == [True, True, False]
    assert found.verdict == "fail"


@pytest.mark.parametrize("name", ["rxe61_ibv_rc_pingpong", "rxe61_perftest_atomic_lat"])
def test_real_single_processes_are_found_by_the_capture_s_clock(name):
    found = survey(of_files([SAMPLES / f"{name}.pcap"], None, None))
    (match,) = found.matches
    assert match.name == "lrand48"
    assert match.explained == 2


def test_real_cm_psns_are_not_taken_for_anything():
    paths = sorted(SAMPLES.glob("rxe61_cm_[pr]*.pcap"))
    assert not survey(of_files(paths, None, None)).matches


SOURCES = {
    "constant": [3185] * 5,
    "counter": [(0xFFFFF0 + 7 * n) & MASK for n in range(10)],
    "stuck-bits": [random.Random(n).getrandbits(24) | 1 for n in range(20)],
    "glibc-random": libc_random(1_763_700_000, 60),
}


@pytest.mark.parametrize("name", SOURCES)
def test_weak_source(name):
    matches = find(draws(SOURCES[name]))
    assert name in [match.name for match in matches]
    assert matches[0].false_positive < 1e-3


def test_psn_is_the_queue_pair_number():
    found = find([Draw(17 + n * n, qpn=17 + n * n) for n in range(4)])
    assert found[0].name == "equals-qpn"


def test_counter_with_others_in_between():
    values = [100, 101, 102, 0x777777, 0x777778, 0x777779]
    assert find(draws(values))[0].name == "counter"


@pytest.mark.parametrize("unit", [10**3, 10**6, 2**10])
def test_time_mix(unit):
    """The clock's ticks, some jitter, a constant added."""
    rng = random.Random(unit)
    times = sorted(rng.randrange(10**15) for _ in range(12))
    found = [Draw((t // unit + 0x123456 + rng.randrange(50)) & MASK, time_ns=t) for t in times]
    assert "time-mix" in [match.name for match in find(found)]


def test_glibc_random_by_seed():
    (match,) = find(draws(libc_random(4242, 3), process="p"))
    assert match.name == "glibc-random"
    assert "srand(4242)" in match.says


def test_glibc_random_by_its_sums():
    found = draws(libc_random(0xDEADBEEF, 80))
    (match,) = find(found)
    following = libc_random(0xDEADBEEF, 81)[-1]
    assert (following - match.predictions[0].predicted) % (MASK + 1) in (0, 1)


def test_mersenne_twister_of_python_and_of_numpy():
    generator = random.Random(7)
    (upper,) = find(draws(generator.getrandbits(24) for _ in range(640)))
    assert (upper.name, upper.explained) == ("mt19937", 16)
    assert "upper 24 bits" in upper.says
    legacy = np.random.RandomState(7)
    (lower,) = find(draws(legacy.randint(0, 1 << 24, size=640)))
    assert "lower 24 bits" in lower.says


def test_tempering_is_undone():
    """Python's state words against its outputs."""
    generator = random.Random(1)
    outputs = [generator.getrandbits(32) for _ in range(624)]
    assert [mt19937.untempered(output) for output in outputs] == list(generator.getstate()[1][:-1])


@pytest.mark.parametrize(
    "surveys", [5, pytest.param(150, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_random_psns_are_nobody_s(surveys):
    """Surveys of a good generator: none is explained by anything."""
    rng = np.random.default_rng(surveys)
    for n in (2, 3, 4, 8, 20, 60) * surveys:
        now = 1_763_700_000 * 10**9
        psns = rng.integers(0, 1 << 24, size=n)
        times = np.sort(now + rng.integers(0, 10**10, size=n))
        found = [
            Draw(int(p), "10.0.0.1", f"p{k}", 17 + k, int(t))
            for k, (p, t) in enumerate(zip(psns, times, strict=True))
        ]
        assert not find(found), (n, find(found))


def test_pages():
    for name in ("psn-source", *FINGERPRINTS):
        assert len(manual(name)) > 100
