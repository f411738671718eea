"""CRC-32 in compiled code: by carry-less multiplication where the processor has it, else by tables.

Folding after Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ
Instruction" (Intel, 2009); the constants are x^n mod P, bit-reflected, for the distances folded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from dissectors.compiled import compiled

POLYNOMIAL = 0xEDB88320
_BYTE, _WORD = ir.IntType(8), ir.IntType(64)
_PAIR = ir.VectorType(_WORD, 2)


class Pair(types.Type):
    """Two 64-bit words in one vector register."""

    def __init__(self) -> None:
        super().__init__("Pair")


@register_model(Pair)
class _PairModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _PAIR)


_pair = Pair()


def _address(context: Any, builder: Any, signature: Any, values: Any, kind: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, values[0])
    return builder.bitcast(builder.gep(array.data, [values[1]]), kind.as_pointer())


@intrinsic
def load(_typing: Any, array: Any, _offset: Any) -> Any:
    """The 8 bytes of `array` from `offset` on, little-endian; the caller has checked bounds."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(_address(context, builder, signature, values, _WORD), align=1)

    return types.uint64(array, types.intp), generate


@intrinsic
def load_pair(_typing: Any, array: Any, _offset: Any) -> Any:
    """The 16 bytes of `array` from `offset` on; the caller has checked bounds."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(_address(context, builder, signature, values, _PAIR), align=1)

    return _pair(array, types.intp), generate


@intrinsic
def pair(_typing: Any, _low: Any, _high: Any) -> Any:
    """Two words as a pair."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        index = ir.IntType(32)
        vector = ir.Constant(_PAIR, ir.Undefined)
        vector = builder.insert_element(vector, values[0], index(0))
        return builder.insert_element(vector, values[1], index(1))

    return _pair(types.uint64, types.uint64), generate


@intrinsic
def word(_typing: Any, _vector: Any, _index: Any) -> Any:
    """One word of a pair, 0 being the low one."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        index = builder.trunc(values[1], ir.IntType(32))
        return builder.extract_element(values[0], index)

    return types.uint64(_pair, types.intp), generate


@intrinsic
def fold(_typing: Any, _vector: Any, _by: Any, _onto: Any) -> Any:
    """Both words of a pair multiplied without carry by those of `by`, added to `onto`."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(_PAIR, [_PAIR, _PAIR, _BYTE])
        multiply = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.pclmulqdq")
        vector, by, onto = values
        low = builder.call(multiply, [vector, by, _BYTE(0x00)])
        high = builder.call(multiply, [vector, by, _BYTE(0x11)])
        return builder.xor(builder.xor(low, high), onto)

    return _pair(_pair, _pair, _pair), generate


def _tables() -> np.ndarray[Any, np.dtype[np.uint32]]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(POLYNOMIAL), table >> 1)
    rows = [table.astype(np.uint32)]
    for _ in range(15):
        rows.append(rows[-1] >> 8 ^ rows[0][rows[-1] & 0xFF])
    return np.array(rows)


TABLES = _tables()
"""`TABLES[n][b]`: CRC of byte b with n zero bytes behind it."""


@compiled
def _of_block(t: Any, low: Any, high: Any) -> Any:
    """CRC (no inversions) of 16 bytes."""
    return (
        t[15, low & 0xFF]
        ^ t[14, low >> 8 & 0xFF]
        ^ t[13, low >> 16 & 0xFF]
        ^ t[12, low >> 24 & 0xFF]
        ^ t[11, low >> 32 & 0xFF]
        ^ t[10, low >> 40 & 0xFF]
        ^ t[9, low >> 48 & 0xFF]
        ^ t[8, low >> 56]
        ^ t[7, high & 0xFF]
        ^ t[6, high >> 8 & 0xFF]
        ^ t[5, high >> 16 & 0xFF]
        ^ t[4, high >> 24 & 0xFF]
        ^ t[3, high >> 32 & 0xFF]
        ^ t[2, high >> 40 & 0xFF]
        ^ t[1, high >> 48 & 0xFF]
        ^ t[0, high >> 56]
    )


@compiled
def by_tables(tables: Any, data: Any, start: Any, end: Any, state: Any) -> Any:
    """`state` (uint32, inverted as zlib's is inside) continued over `data[start:end]`."""
    while end - start >= 16:
        state = _of_block(tables, load(data, start) ^ np.uint64(state), load(data, start + 8))
        start += 16
    while start < end:
        state = tables[0, (state ^ data[start]) & 0xFF] ^ state >> np.uint32(8)
        start += 1
    return state


@compiled
def by_multiplication(tables: Any, data: Any, start: Any, end: Any, state: Any) -> Any:
    """As `by_tables`, four 16-byte blocks at a time."""
    if end - start >= 128:
        far = pair(np.uint64(0x154442BD4), np.uint64(0x1C6E41596))
        near = pair(np.uint64(0x1751997D0), np.uint64(0x0CCAA009E))
        a = load_pair(data, start)
        a = pair(word(a, 0) ^ np.uint64(state), word(a, 1))
        b = load_pair(data, start + 16)
        c = load_pair(data, start + 32)
        d = load_pair(data, start + 48)
        start += 64
        while end - start >= 64:
            a = fold(a, far, load_pair(data, start))
            b = fold(b, far, load_pair(data, start + 16))
            c = fold(c, far, load_pair(data, start + 32))
            d = fold(d, far, load_pair(data, start + 48))
            start += 64
        d = fold(fold(fold(a, near, b), near, c), near, d)
        while end - start >= 16:
            d = fold(d, near, load_pair(data, start))
            start += 16
        # What is left is 16 bytes with the same remainder as all that was folded.
        state = _of_block(tables, word(d, 0), word(d, 1))
    return by_tables(tables, data, start, end, state)


crc = by_multiplication if binding.get_host_cpu_features().get("pclmul") else by_tables
"""The faster one that this processor can run."""
