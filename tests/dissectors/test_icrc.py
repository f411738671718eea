"""The ICRC takes as ones what the standard lists (IBTA vol. 1, A17.3.3)."""

from __future__ import annotations

import pytest

from dissectors.bth import BTH
from dissectors.grh import GRH
from dissectors.header import Header
from dissectors.icrc import ones
from dissectors.ip import IPv4, IPv6
from dissectors.reth import RETH
from dissectors.udp import UDP


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (IPv4, "00ff000000000000ff00ffff" + "00" * 8),
        (IPv6, "0fffffff000000ff" + "00" * 32),
        (GRH, "0fffffff000000ff" + "00" * 32),
        (UDP, "000000000000ffff"),
        (BTH, "00000000ff" + "00" * 7),
        (RETH, "00" * 16),
    ],
)
def test_variant_fields(kind: type[Header], expected: str) -> None:
    assert ones(kind).hex() == expected
