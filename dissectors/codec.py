"""A header's fields compiled into one struct call and shifts, as namedtuple compiles its
constructor.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dissectors.header import Field


def _words(fields: tuple[Field, ...]) -> list[tuple[int, int, str]]:
    """(first bit, bits, struct code) of the words read at once: 4, 2 or 1 bytes, or one Data
    field.
    """
    words: list[tuple[int, int, str]] = []
    start = end = 0
    for field in (*fields, None):
        if field is not None and not isinstance(field.default, bytes):
            end = field.bit_offset + field.bits
            continue
        while start < end:
            bits, code = next(w for w in ((32, "I"), (16, "H"), (8, "B")) if w[0] <= end - start)
            words.append((start, bits, code))
            start += bits
        if field is not None:
            words.append((start, field.bits, f"{field.bits // 8}s"))
            start = end = start + field.bits
    return words


def compiled(
    fields: tuple[Field, ...],
) -> tuple[Callable[..., tuple[Any, ...]], Callable[..., tuple[Any, ...]], Callable[..., bytes]]:
    """(buffer, offset -> words), (words -> field values), (field values -> bytes)."""
    words = _words(fields)
    codec = struct.Struct(">" + "".join(code for _, _, code in words))
    reads: dict[str, list[str]] = {field.name: [] for field in fields}
    writes: list[list[str]] = [[] for _ in words]
    for field in fields:
        for number, (start, bits, code) in enumerate(words):
            read, write = _share(field, f"w{number}", start, bits, raw=code.endswith("s"))
            reads[field.name] += read
            writes[number] += write
    arguments = ", ".join(f"w{number}" for number in range(len(words)))
    values = "".join(f"{' | '.join(parts)}, " for parts in reads.values())
    packed = ", ".join(" | ".join(parts) for parts in writes)
    # The texts hold nothing but our own declarations' field names and numbers.
    split = eval(f"lambda {arguments}: ({values})")
    join = eval(f"lambda {', '.join(reads)}: pack({packed})", {"pack": codec.pack})
    return codec.unpack_from, split, join


def _share(
    field: Field, word: str, start: int, bits: int, *, raw: bool
) -> tuple[list[str], list[str]]:
    """Expressions that take `field`'s bits out of `word` (`bits` from bit `start` on) and
    back.
    """
    end = field.bit_offset + field.bits
    low, high = max(start, field.bit_offset), min(start + bits, end)
    if raw:
        own = start == field.bit_offset and bits == field.bits and isinstance(field.default, bytes)
        return ([word], [field.name]) if own else ([], [])
    if low >= high:
        return [], []
    in_word, in_field, mask = start + bits - high, end - high, (1 << high - low) - 1
    value = f"({field.name} if {field.name} > 0 else 0)" if field.default == -1 else field.name
    read = _shifted(word, in_word, in_field, mask if low > start else None)
    write = _shifted(value, in_field, in_word, mask if low > field.bit_offset else None)
    return [read], [write]


def _shifted(expression: str, right: int, left: int, mask: int | None) -> str:
    """`expression >> right & mask << left` without the steps that change nothing."""
    if right:
        expression = f"({expression} >> {right})"
    if mask is not None:
        expression = f"({expression} & {mask})"
    return f"({expression} << {left})" if left else expression
