"""A filter expression over columns -> which rows it selects.

`bth.opcode == RDMA_WRITE_FIRST and bth.psn > 0x100`, `aeth and not bth.se`, `src == "10.0.0.1"`.
`cm.req.starting_psn & 1 == 1`. A field of a header that a packet does not carry satisfies no
comparison. The expression is parsed as Python's grammar and walked here; nothing of it is ever
executed.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import numpy as np

from analysis.listing.columns import ADDRESSES, EVERY_FIELD, Columns
from analysis.listing.errors import ListingError
from analysis.listing.names import column, columns, headers
from dissectors.decode import V4_MAPPED
from dissectors.opcode import Opcode
from dissectors.table import PacketTable

Array = np.ndarray[Any, np.dtype[Any]]
MAC = r"(?i)[0-9a-f]{2}(:[0-9a-f]{2}){5}"
MAX_LENGTH = 2000
"""Characters of an expression: more is a mistake, or an attack on the parser's stack."""

COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mod: operator.mod,
}


def select(table: PacketTable, expression: str) -> Array:
    """Which rows of `table` satisfy `expression`, as booleans; raises ListingError."""
    return np.broadcast_to(_truth(Columns(table), _parsed(expression)), len(table))


def _parsed(expression: str) -> ast.expr:
    if len(expression) > MAX_LENGTH:
        raise ListingError(f"filter of {len(expression)} characters, at most {MAX_LENGTH}")
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f" at column {error.offset}" if isinstance(error, SyntaxError) else ""
        raise ListingError(
            f"filter {expression!r}: expected comparisons joined by and, or, not; found "
            f"{getattr(error, 'msg', error)}{where}"
        ) from None


def _truth(table: Columns, node: ast.expr) -> Array:
    """`node` as a condition on each row, or one for all of them."""
    if isinstance(node, ast.BoolOp):
        join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return np.asarray(join.reduce([_truth(table, value) for value in node.values]))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return ~_truth(table, node.operand)
    if isinstance(node, ast.Compare):
        terms = [node.left, *node.comparators]
        steps = zip(node.ops, terms[:-1], terms[1:], strict=True)
        return np.asarray(np.logical_and.reduce([_compared(table, *step) for step in steps]))
    name = _name(node)
    if name in headers():
        return table.has(headers()[name])
    values, present = _values(table, node)
    return np.asarray(present if _is_bytes(values) else present & (values != 0))


def _compared(table: Columns, how: ast.cmpop, left: ast.expr, right: ast.expr) -> Array:
    if isinstance(how, ast.In | ast.NotIn):
        if not isinstance(right, ast.Tuple | ast.List | ast.Set):
            raise ListingError(f"after in: expected (a, b, ...), found {ast.unparse(right)}")
        any_of = [_compared(table, ast.Eq(), left, each) for each in right.elts]
        nothing = np.zeros(len(table.table), bool)
        found = np.asarray(np.logical_or.reduce([nothing, *any_of]))
        return found if isinstance(how, ast.In) else np.asarray(~found)
    compare = COMPARISONS.get(type(how))
    if compare is None:
        raise ListingError(f"cannot compare with {type(how).__name__}")
    values, present = _values(table, left)
    others, also = _values(table, right)
    values, others = _address(values, left, others), _address(others, right, values)
    if isinstance(values, Opcodes) or isinstance(others, Opcodes):
        return np.asarray(present & also & _opcodes(compare, values, others))
    if _is_bytes(values) != _is_bytes(others):
        raise ListingError(f"{ast.unparse(left)} and {ast.unparse(right)}: of different kinds")
    if _is_bytes(values):
        values, others = _as_bytes(values), _as_bytes(others)
        if values.dtype != others.dtype:
            raise ListingError(
                f"{ast.unparse(left)} and {ast.unparse(right)}: of different lengths"
            )
        same = values == others
        if compare not in (operator.eq, operator.ne):
            raise ListingError("addresses and bytes compare only by == and !=")
        return np.asarray(present & also & (same if compare is operator.eq else ~same))
    return np.asarray(present & also & compare(values, others))


def _address(values: Any, node: ast.expr, others: Any) -> Any:
    """`values` of `node`, as addresses are where it is a column of them and `others` is one."""
    name = columns().get(_name(node))
    if not isinstance(others, bytes) or name not in ADDRESSES or EVERY_FIELD[name].bits != 32:
        return values
    mapped = np.zeros((len(values), len(V4_MAPPED) + 4), np.uint8)
    mapped[:, : len(V4_MAPPED)] = list(V4_MAPPED)
    mapped[:, len(V4_MAPPED) :] = values.astype(">u4").view(np.uint8).reshape(-1, 4)
    return mapped.view(f"V{mapped.shape[1]}")[:, 0]


class Opcodes(tuple[int, ...]):
    """The opcodes that a name stands for: RDMA_WRITE_FIRST is that of RC, UC, RD and XRC."""

    __slots__ = ()


def _opcodes(compare: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    column, wanted = (left, right) if isinstance(right, Opcodes) else (right, left)
    if isinstance(column, Opcodes) or compare not in (operator.eq, operator.ne):
        raise ListingError("an opcode's name compares with a field, by == or !=")
    found = np.isin(column, wanted)
    return found if compare is operator.eq else ~found


def _name(node: ast.expr) -> str:
    """`infiniband.bth.psn` of nested attributes, "" of anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _name(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def _values(table: Columns, node: ast.expr) -> tuple[Any, Any]:
    """The value of `node` for each row (or one for all), and where there is one."""
    if isinstance(node, ast.Constant):
        return _constant(node.value), True
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        left, present = _values(table, node.left)
        right, also = _values(table, node.right)
        if any(_is_bytes(each) or isinstance(each, Opcodes) for each in (left, right)):
            raise ListingError(f"{ast.unparse(node)}: expected numbers")
        if isinstance(node.op, ast.Mod) and not np.all(right):
            raise ListingError(f"{ast.unparse(node)}: division by zero")
        if np.result_type(left, right).kind == "f":
            # Addresses of 64 bits and small numbers: numpy knows no integer that holds both kinds.
            left, right = (np.asarray(each).astype(np.uint64) for each in (left, right))
        return ARITHMETIC[type(node.op)](left, right), present & also
    name = _name(node)
    if not name:
        raise ListingError(f"expected a field or a number, found {ast.unparse(node)}")
    opcodes = Opcodes(
        op for op in Opcode if name in (op.name, op.name.partition("_")[2]) and name == name.upper()
    )
    if opcodes:
        return opcodes, True
    found = column(name)
    values = table.values(found)
    if values.dtype.kind == "u":
        # Wide enough that sums and differences with small numbers do not wrap.
        values = values.astype(np.int64) if values.dtype.itemsize < 8 else values
    return values, table.present(found)


def _constant(value: object) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ListingError(f"expected a whole number or an address in quotes, found {value!r}")
    if isinstance(value, str):
        if re.fullmatch(MAC, value):
            return np.int64(int(value.replace(":", ""), 16))
        try:
            packed = ip_address(value).packed
        except ValueError:
            raise ListingError(f"expected an IP or MAC address, found {value!r}") from None
        return packed if len(packed) == 16 else V4_MAPPED + packed
    if not 0 <= value < 1 << 64:
        raise ListingError(f"expected a number of at most 64 bits, found {value}")
    return np.uint64(value) if value >= 1 << 63 else np.int64(value)


def _is_bytes(values: Any) -> bool:
    return isinstance(values, bytes) or getattr(values, "dtype", np.dtype(int)).kind == "V"


def _as_bytes(values: Any) -> Any:
    """Rows of bytes that numpy can compare."""
    if isinstance(values, bytes):
        return np.frombuffer(values, f"V{len(values)}")
    return values
