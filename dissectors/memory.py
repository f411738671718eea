"""Loads and stores at addresses, for compiled code.

Kernels take addresses, not arrays: numba counts a reference each time an array is handed on, which
costs more than the work here. So nothing below checks bounds; every caller has done so, and the
tests run the kernels between unreadable pages.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from dissectors.compiled import compiled

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


pair_type = Pair()


def _loads(kind: Any, result: Any) -> Any:
    """An intrinsic that loads a value of LLVM type `kind`, little-endian, from an address."""

    def load(_typing: Any, _address: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            value = builder.load(builder.inttoptr(values[0], kind.as_pointer()), align=1)
            return value if kind in (_WORD, _PAIR) else builder.zext(value, _WORD)

        return result(types.int64), generate

    return intrinsic(load)


def _stores(kind: Any) -> Any:
    """An intrinsic that stores the low bits of an integer at an address."""

    def store(_typing: Any, _address: Any, _value: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            value = values[1] if kind is _WORD else builder.trunc(values[1], kind)
            builder.store(value, builder.inttoptr(values[0], kind.as_pointer()), align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), generate

    return intrinsic(store)


byte = _loads(_BYTE, types.int64)
half = _loads(ir.IntType(32), types.int64)
word = _loads(_WORD, types.int64)
pair_at = _loads(_PAIR, pair_type)
set_byte = _stores(_BYTE)
set_half = _stores(ir.IntType(32))
set_word = _stores(_WORD)


@intrinsic
def prefetch(_typing: Any, _address: Any) -> Any:
    """Have the memory at an address brought near; any address will do."""

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        pointer = builder.inttoptr(values[0], _BYTE.as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), number, number, number])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        # For reading, of highest locality, as data.
        builder.call(fetch, [pointer, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def pair(_typing: Any, _low: Any, _high: Any) -> Any:
    """Two words as a pair."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        index = ir.IntType(32)
        vector = builder.insert_element(ir.Constant(_PAIR, ir.Undefined), values[0], index(0))
        return builder.insert_element(vector, values[1], index(1))

    return pair_type(types.int64, types.int64), generate


def _extracts(index: int) -> Any:
    def extract(_typing: Any, _vector: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            return builder.extract_element(values[0], ir.IntType(32)(index))

        return types.int64(pair_type), generate

    return intrinsic(extract)


low = _extracts(0)
high = _extracts(1)


@intrinsic
def fold(_typing: Any, _vector: Any, _by: Any, _onto: Any) -> Any:
    """Both words of a pair multiplied without carry by those of `by`, added to `onto`."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(_PAIR, [_PAIR, _PAIR, _BYTE])
        multiply = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.pclmulqdq")
        vector, by, onto = values
        lows = builder.call(multiply, [vector, by, _BYTE(0x00)])
        highs = builder.call(multiply, [vector, by, _BYTE(0x11)])
        return builder.xor(builder.xor(lows, highs), onto)

    return pair_type(pair_type, pair_type, pair_type), generate


@compiled
def copy(start: Any, size: Any, to: Any) -> None:
    """Copy `size` bytes from address `start` to address `to`."""
    while size >= 8:
        set_word(to, word(start))
        start, to, size = start + 8, to + 8, size - 8
    if size >= 4:
        set_half(to, half(start))
        start, to, size = start + 4, to + 4, size - 4
    while size > 0:
        set_byte(to, byte(start))
        start, to, size = start + 1, to + 1, size - 1
