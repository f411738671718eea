"""A short run of what `python -m tests.fuzz.frames` and `.files` do at length."""

from __future__ import annotations

from tests.fuzz import files, frames


def test_mangled_frames() -> None:
    count = 2 * frames.BATCH
    done = frames.run(seed=20, count=count)
    assert done["frames"] == count
    assert {"sound", "CUT", "FRAGMENT", "LENGTH", "VALUE", "OPCODE", "PAD"} <= done.keys()


def test_mangled_files() -> None:
    done = files.run(seed=20, count=400)
    assert done["files"] == 400
    assert {"sound", "damaged", "refused"} <= done.keys()


def test_a_seed_gives_the_same_cases() -> None:
    assert list(frames.cases(7, 50)) == list(frames.cases(7, 50))
    assert list(files.cases(7, 50)) == list(files.cases(7, 50))
