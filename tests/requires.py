"""Tools a test needs: on a user's machine a missing one skips with the reason, in CI it fails."""

from __future__ import annotations

import os
import shutil

import pytest


def tool(*names: str) -> None:
    """Skip (or, under CI, fail) the calling test unless every program in `names` is on PATH."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        lacking(f"{', '.join(missing)} not installed")


def lacking(reason: str) -> None:
    """Skip with `reason`; under CI a missing tool is a failure, never a silent skip."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have what every test needs: {reason}")
    pytest.skip(reason)
