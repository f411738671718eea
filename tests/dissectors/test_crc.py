"""CRC-32 of compiled code is zlib's, by either way of computing it."""

from __future__ import annotations

import random
import zlib
from typing import Any

import numpy as np
import pytest

from dissectors import crc


@pytest.mark.parametrize("way", [crc.by_tables, crc.by_multiplication], ids=["tables", "pclmul"])
def test_against_zlib(way: Any) -> None:
    if way is not crc.by_tables and crc.crc is crc.by_tables:
        pytest.skip("this processor has no carry-less multiplication")
    data = np.frombuffer(random.Random(1).randbytes(5000), np.uint8)
    for start in range(3):
        for length in [*range(300), 1023, 1024, 1040, 4096]:
            at = data.ctypes.data + start
            state = way(crc.TABLES.ctypes.data, at, at + length, 0xFFFFFFFF)
            assert state ^ 0xFFFFFFFF == zlib.crc32(data[start : start + length]), length
