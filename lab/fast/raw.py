"""Memory by address for compiled code: records, numbers in network order, system calls."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, from_dtype, njit, types
from numba.extending import intrinsic

from dissectors.memory import byte, set_byte


def pointer_to(kind: Any) -> Any:
    """A function of compiled code: address -> pointer to numba type `kind`."""

    @intrinsic
    def pointer(_typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(address), generate

    return pointer


def record_at(layout: np.dtype[Any]) -> Any:
    """A function of compiled code: (address of the first, index) -> that record, by reference."""
    pointer = pointer_to(from_dtype(layout))

    @njit
    def record(address: int, index: int) -> Any:
        return carray(pointer(address), index + 1)[index]

    return record


@njit
def load(address: int, size: int) -> Any:
    """`size` bytes (1 to 8) in network order."""
    value = np.int64(0)
    for k in range(size):
        value = value << 8 | byte(address + k)
    return value


@njit
def store(address: int, size: int, value: int) -> None:
    """The reverse."""
    for k in range(size):
        set_byte(address + k, value >> 8 * (size - 1 - k))


_size, _int = types.intp, types.int32
memcpy = types.ExternalFunction("memcpy", _size(_size, _size, _size))
recvmsg = types.ExternalFunction("recvmsg", _size(_int, _size, _int))
sendmsg = types.ExternalFunction("sendmsg", _size(_int, _size, _int))
sendto = types.ExternalFunction("sendto", _size(_int, _size, _size, _int, _size, _int))
sched_yield = types.ExternalFunction("sched_yield", _int())
clock_gettime = types.ExternalFunction("clock_gettime", _int(_int, _size))
