"""A short run of what `python -m tests.fuzz.verbs` does at length."""

from __future__ import annotations

import pytest

from tests.fuzz import verbs


@pytest.mark.parametrize("fast", [False, True])
def test_any_calls(fast: bool) -> None:
    done = verbs.run(seed=20, count=100, fast=fast)
    assert done["programs"] == 100
    assert min(done["done"], done["refused"]) > 500
