"""Goodput and go-back-N by loss and window, as docs/transport.md has them: the same to the last
digit until the transport is changed (then: python -m tests.bench.loss --markdown).
"""

from __future__ import annotations

import pytest

from tests.bench.loss import COLUMNS, transfer
from tests.documents import table


@pytest.mark.parametrize(("loss", "window"), [(0.0, 32), (0.001, 128), (0.01, 32)])
def test_row_of_the_table(loss: float, window: int) -> None:
    cell = transfer(loss, window)
    rows = table("transport.md", "Goodput by loss and window")
    assert dict(zip(COLUMNS, cell.texts(), strict=True)) in rows


def test_amplification_is_that_of_go_back_n() -> None:
    """Within a sixth of what the textbook's formula gives for the window, over all rows."""
    rows = table("transport.md", "Goodput by loss and window")
    assert {(row["loss"], row["window"]) for row in rows} == {
        (loss, window) for loss in ("0.0%", "0.1%", "1.0%", "5.0%") for window in ("8", "32", "128")
    }
    for row in rows:
        loss, window = float(row["loss"].rstrip("%")) / 100, int(row["window"])
        expected = 1 + window * loss / (1 - loss)
        assert float(row["formula"]) == pytest.approx(expected, abs=0.0006)
        assert float(row["sends"]) == pytest.approx(expected, rel=1 / 6)
        assert window * 0.7 <= float(row["k"]) <= window or loss == 0


def test_without_loss_the_wire_is_full() -> None:
    cell = transfer(0.0, 128, mib=16)
    assert (cell.again, cell.naks, cell.timeouts) == (0, 0, 0)
    # Of 10 Gbit/s, 4096 of each packet's 4112 bytes are payload; the wire counts UDP payload only.
    assert 9.7 < cell.goodput <= 10 * 4096 / 4112
