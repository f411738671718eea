"""What chose the PSNs: each source by its own code (libc, Python, numpy), found and foretold."""

from __future__ import annotations

import ctypes
import random
from pathlib import Path

import numpy as np
import pytest

from analysis.collect import collect
from analysis.draws import Draw
from analysis.fingerprints import FINGERPRINTS, find, manual
from analysis.fingerprints.lrand48 import origin_of, stream
from analysis.fingerprints.streams import first_seeds, lrand48_seeds, seeded
from analysis.fingerprints.twister import ENOUGH, tempered, untempered
from analysis.survey import survey

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


def test_the_seeds_that_one_psn_leaves():
    """Worked out backwards, and by trying all 2^25 with the generator written out in numpy."""
    state = np.arange(1 << 25, dtype=np.uint64) << np.uint64(16) | np.uint64(0x330E)
    psns = (state * np.uint64(0x5DEECE66D) + np.uint64(11)) >> np.uint64(17) & np.uint64(MASK)
    for seed in (1, 77777, 0x1FFFFFF):
        (psn,) = lrand48(seed, 1)
        found = first_seeds(psn)
        assert seed in found
        assert found == np.flatnonzero(psns == psn).tolist()


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


def test_stream_in_another_order():
    """Connections made at the same time overtake one another, and not all of them are seen."""
    seed = ctypes.c_int32(4711 * 1_763_700_000 & 0xFFFFFFFF).value
    generator = lrand48(seed, 61)
    order = list(range(0, 60, 2))
    random.Random(1).shuffle(order)
    (match,) = find(draws([generator[at] for at in order], time_ns=1_763_700_001 * 10**9))
    assert (match.name, match.explained) == ("lrand48", 30)
    assert "pid 4711 times 2025-11-21 04:40:00 UTC" in match.says
    assert "at most 1 others drawn in between" in match.says
    assert match.predictions[-1].predicted == generator[59]


def test_two_streams_of_one_host():
    """Two programs that go on side by side."""
    one, other = lrand48(4711, 40), lrand48(815, 40)
    mixed = [psn for pair in zip(one, other, strict=True) for psn in pair]
    found = find(draws(mixed))
    assert [(match.name, match.explained) for match in found] == [("lrand48", 40)] * 2


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
    found = survey(collect([SAMPLES / "rxe61_ibv_srq_pingpong.pcap"], None, None))
    assert [match.name for match in found.matches] == ["lrand48", "lrand48"]
    for match in found.matches:
        assert [p.true for p in match.predictions] == [True, True, False]
    assert found.verdict == "fail"


@pytest.mark.parametrize("name", ["rxe61_ibv_rc_pingpong", "rxe61_perftest_atomic_lat"])
def test_real_single_processes_are_found_by_the_capture_s_clock(name):
    found = survey(collect([SAMPLES / f"{name}.pcap"], None, None))
    (match,) = found.matches
    assert match.name == "lrand48"
    assert match.explained == 2


def test_real_cm_psns_are_not_taken_for_anything():
    paths = sorted(SAMPLES.glob("rxe61_cm_[pr]*.pcap"))
    assert not survey(collect(paths, None, None)).matches


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


def test_counter_out_of_order():
    values = [(0xFFFFF0 + 3 * n) & MASK for n in (4, 0, 2, 9, 3, 1, 8, 5, 7, 6)]
    (match,) = find(draws(values))
    assert (match.name, match.explained) == ("counter", 10)
    assert match.predictions[-1].predicted == (0xFFFFF0 + 30) & MASK
    assert [p.true for p in match.predictions] == [True] * 3 + [False]


def test_one_host_of_several():
    """Random PSNs of one host beside another's constant ones."""
    rng = random.Random(5)
    mixed = [Draw(rng.getrandbits(24), drawer="10.0.0.2") for _ in range(20)]
    mixed += [Draw(0, drawer="10.0.0.3") for _ in range(5)]
    (match,) = find(mixed)
    assert (match.name, match.explained) == ("constant", 5)
    assert "10.0.0.3" in match.says


def test_one_explanation_is_enough():
    """Small queue pair numbers have high bits that never change, and rise with the time."""
    found = find([Draw(n, "10.0.0.1", qpn=n, time_ns=n * 10**6) for n in range(17, 60)])
    assert [match.name for match in found] == ["equals-qpn"]


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


@pytest.mark.parametrize("unit", [10**3, 10**6])
def test_time_xor_pid(unit):
    rng = random.Random(unit)
    times = sorted(1_763_700_000 * 10**9 + rng.randrange(10**15) for _ in range(12))
    found = [Draw((t // unit ^ 0x123456) & MASK, time_ns=t + rng.randrange(unit)) for t in times]
    (match,) = find(found)
    assert match.name == "time-mix"
    assert "XOR 0x1234" in match.says
    exact = [Draw(draw.psn, time_ns=t) for draw, t in zip(found, times, strict=True)]
    (match,) = find(exact)
    assert "XOR 0x123456" in match.says
    assert all(p.true for p in match.predictions)


def test_glibc_random_by_seed():
    (match,) = find(draws(libc_random(4242, 3), process="p"))
    assert match.name == "glibc-random"
    assert "srand(4242)" in match.says


def test_glibc_random_by_its_sums():
    found = draws(libc_random(0xDEADBEEF, 50))
    (match,) = find(found)
    following = libc_random(0xDEADBEEF, 51)[-1]
    assert (following - match.predictions[-1].predicted) % (MASK + 1) in (0, 1)


@pytest.mark.parametrize("count", [120, 500])
def test_glibc_random_foretold(count):
    """The carries worked out: what libc gives next, exactly."""
    *seen, following = libc_random(0xC0FFEE, count + 1)
    (match,) = find(draws(seen))
    assert (match.name, match.entropy) == ("glibc-random", 0)
    assert [p.true for p in match.predictions] == [True] * 4 + [False]
    assert match.predictions[-1].predicted == following


PYTHON = random.Random(7)
NUMPY = np.random.RandomState(7)
TWISTERS = {
    "upper 24 bits": [PYTHON.getrandbits(24) for _ in range(ENOUGH + 20)],
    "lower 24 bits": NUMPY.randint(0, 1 << 24, size=ENOUGH + 20).tolist(),
}


@pytest.mark.parametrize("which", TWISTERS)
def test_mersenne_twister_by_its_parities(which):
    (match,) = find(draws(TWISTERS[which][:640]))
    assert (match.name, match.explained, match.entropy) == ("mt19937", 640, 9)
    assert which in match.says


@pytest.mark.parametrize("which", TWISTERS)
def test_mersenne_twister_foretold(which):
    """From the first ENOUGH of Python's and numpy's outputs to those that came next."""
    psns = TWISTERS[which]
    (match,) = find(draws(psns[:-1]))
    assert (match.name, match.entropy) == ("mt19937", 0)
    assert [p.true for p in match.predictions] == [True] * 4 + [False]
    assert match.predictions[-1].predicted == psns[-1]
    assert which in match.says
    assert "19 of the 19" in match.says


def test_mersenne_twister_after_other_draws():
    psns = np.random.default_rng(3).integers(0, 1 << 24, size=50).tolist()
    (match,) = find(draws(psns + TWISTERS["upper 24 bits"]))
    assert match.explained >= ENOUGH + 20
    assert [p.true for p in match.predictions] == [True] * 4 + [False]


def test_too_few_for_the_state_of_a_mersenne_twister():
    (match,) = find(draws(TWISTERS["upper 24 bits"][: ENOUGH - 1]))
    assert match.entropy == 9


def test_tempering_is_undone():
    """Python's state words against its outputs."""
    generator = random.Random(1)
    outputs = [generator.getrandbits(32) for _ in range(624)]
    words = list(generator.getstate()[1][:-1])
    assert [untempered(output) for output in outputs] == words
    assert [tempered(word) for word in words] == outputs


def test_random_psns_are_nobody_s():
    """Surveys of a good generator: none is explained by anything (docs/calibration.md: many)."""
    rng = np.random.default_rng(5)
    for n in (2, 3, 4, 8, 20, 60) * 5:
        now = 1_763_700_000 * 10**9
        psns = rng.integers(0, 1 << 24, size=n)
        times = np.sort(now + rng.integers(0, 10**10, size=n))
        found = [
            Draw(int(p), "10.0.0.1", f"p{k}", 17 + k, int(t))
            for k, (p, t) in enumerate(zip(psns, times, strict=True))
        ]
        assert not find(found), (n, find(found))


def test_pages():
    """Each says what it looks for and how often chance looks like that."""
    for name in FINGERPRINTS:
        assert "hance" in manual(name), name
        assert len(manual(name)) > 200
