"""What chooses starting PSNs: each weak source against the program it stands for."""

from __future__ import annotations

import ctypes
import os
import time
from typing import get_args

import pytest

from lab.endpoint.config import Config, ConfigError
from lab.endpoint.psn_source import SOURCES, Dice
from lab.runner.options import PsnSource
from tests.lab.flows.conftest import Ends, ends  # noqa: F401 - a fixture

MASK = 0xFFFFFF


def chosen(source: str, count: int, seed: int | None = None) -> list[int]:
    choose = SOURCES[source](Dice(seed, "client"))
    return [choose(number, 17 + number) for number in range(count)]


def libc_lrand48(seed: int, count: int) -> list[int]:
    libc = ctypes.CDLL("libc.so.6")
    libc.lrand48.restype = ctypes.c_long
    libc.srand48(ctypes.c_long(seed))
    return [libc.lrand48() & MASK for _ in range(count)]


@pytest.mark.parametrize("seed", [0, 1, 4242 * 1_763_700_000, 2**40 + 7])
def test_lrand48_is_libc_s(seed: int) -> None:
    assert chosen("lrand48", 20, seed) == libc_lrand48(seed, 20)


def test_lrand48_is_seeded_as_perftest_does() -> None:
    before = int(time.time())
    psns = chosen("lrand48", 3)
    seconds = range(before, int(time.time()) + 1)
    assert psns in [libc_lrand48(os.getpid() * second, 3) for second in seconds]


def test_the_simple_ones() -> None:
    assert chosen("constant", 3) == [3185] * 3
    assert chosen("qpn", 3) == [17, 18, 19]
    first, second, third = chosen("counter", 3)
    assert (second, third) == ((first + 1) & MASK, (first + 2) & MASK)
    odd = chosen("odd", 64)
    assert all(psn & 1 for psn in odd)
    assert len(set(odd)) > 60
    assert len(set(chosen("csprng", 500))) == 500


@pytest.mark.parametrize("source", SOURCES)
def test_a_seed_makes_every_source_repeatable(source: str) -> None:
    assert chosen(source, 10, 7) == chosen(source, 10, 7)
    assert all(0 <= psn <= MASK for psn in chosen(source, 10, 7))


def test_the_command_line_offers_all_of_them() -> None:
    assert list(get_args(PsnSource)) == list(SOURCES)


def test_both_ends_draw_from_the_source_and_say_so(ends: Ends) -> None:  # noqa: F811
    outcomes = ends.run("connect-only", clients=3, psn_source="constant")
    for outcome in outcomes.values():
        told = outcome.named("negotiated")
        assert [keys["local"]["sq_psn"] for keys in told] == [3185] * 3
        assert {keys["sq_psn_source"] for keys in told} == {"constant"}


def test_an_unknown_source_is_refused() -> None:
    common = dict.fromkeys(("address", "ca", "certificate", "key", "truth"), "x")
    with pytest.raises(ConfigError, match=r"psn_source: expected one of csprng, odd.*'dice'"):
        Config(role="server", psn_source="dice", **common)
