"""What chose the starting PSNs of every real capture there is (`sources_of_samples.toml`)."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from analysis.collect import collect
from analysis.survey import survey

SAMPLES = Path(__file__).parents[2] / "captures" / "samples"
EXPECTED = tomllib.loads(Path(__file__).with_name("sources_of_samples.toml").read_text())


def test_no_sample_is_left_out():
    assert {path.stem for path in SAMPLES.glob("*.pcap")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_sample(name, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")  # nothing in them is encrypted: tshark is not needed
    found = survey(collect([SAMPLES / f"{name}.pcap"], None, None))
    assert [len(found.draws), found.verdict, *(m.name for m in found.matches)] == EXPECTED[name]
