"""Field and Header: a header is declared once, from the top bit of its first byte on.

    class AETH(Header):
        \"\"\"ACK Extended Transport Header (IBTA vol. 1, 9.3.5).\"\"\"
        syndrome = Field(8, "ACK, RNR NAK or NAK, and its detail")
        msn = Field(24, "message sequence number")

A header is a tuple of its field values whose fields are read by name; `AETH.msn` is the Field
itself (what the columnar decoder, the scapy layers, the reference page and the differential test
are made from). Reading is compiled once per class into one struct call and shifts, as namedtuple
compiles its constructor.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn, Self, overload

from dissectors.codec import compiled

AUTO = -1
"""Value of a length, checksum or next-header field that `Packet.build` shall compute; packs as
0.
"""

Buffer = bytes | bytearray | memoryview


class Field(property):
    """An unsigned integer of `bits` bits, most significant bit first.

    `default` is an int, or AUTO; a `variant` field may change on the way, so that the ICRC takes it
    as ones; `text` turns a value into words; `names` maps values to words
    and wins over `text` where it has the value; `tshark` is Wireshark's name of the same field.
    """

    name: str
    header: type[Header]
    bit_offset: int

    def __init__(
        self,
        bits: int,
        doc: str = "",
        *,
        default: Any = 0,
        variant: bool = False,
        text: Callable[[Any], str] = str,
        names: Mapping[int, str] | None = None,
        tshark: str = "",
    ) -> None:
        self.bits = bits
        self.doc = doc
        self.default = default
        self.variant = variant
        self.tshark = tshark
        self.names = names or {}
        self._text = text

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def place(self, header: type[Header], index: int, bit_offset: int) -> None:
        """Take the `index`-th place of `header`, `bit_offset` bits from its start."""
        self.header = header
        self.bit_offset = bit_offset
        super().__init__(itemgetter(index), doc=self.doc)

    def text(self, value: Any) -> str:
        """`value` in words: its name, its formatted number."""
        if value == AUTO:
            return "(computed)"
        return self.names.get(value) or self._text(value)

    def check(self, value: Any) -> None:
        """Raise ValueError unless `value` fits the field."""
        if not (isinstance(value, int) and (0 <= value >> self.bits == 0 or value == self.default)):
            raise ValueError(f"{self.path} holds {self.bits} bits, got {value!r}")

    @property
    def path(self) -> str:
        """`bth.psn`: how commands and messages name the field."""
        return f"{self.header.__name__.lower()}.{self.name}"

    @property
    def column(self) -> str:
        """`bth_psn`: the field's column in a PacketTable."""
        return self.path.replace(".", "_")

    def __repr__(self) -> str:
        return f"<Field {self.path} {self.bits} bits at {self.bit_offset}>"

    if TYPE_CHECKING:

        @overload  # type: ignore[override]
        def __get__(self, instance: None, owner: type) -> Self: ...
        @overload
        def __get__(self, instance: Header, owner: type) -> int: ...
        def __get__(self, instance: Any, owner: Any = None) -> Any: ...


class Data(Field):
    """`size` bytes kept as bytes (a GID, private data), starting on a byte boundary."""

    def __init__(
        self, size: int, doc: str = "", *, text: Callable[[Any], str] = bytes.hex, tshark: str = ""
    ) -> None:
        super().__init__(8 * size, doc, default=bytes(size), text=text, tshark=tshark)

    def check(self, value: Any) -> None:
        if not (isinstance(value, bytes) and 8 * len(value) == self.bits):
            raise ValueError(f"{self.path} holds {self.bits // 8} bytes, got {value!r}")

    if TYPE_CHECKING:

        @overload  # type: ignore[override]
        def __get__(self, instance: None, owner: type) -> Self: ...
        @overload
        def __get__(self, instance: Header, owner: type) -> bytes: ...
        def __get__(self, instance: Any, owner: Any = None) -> Any: ...


class Tail(Data):
    """The last field of a header of variable length: whatever bytes follow the fixed ones."""

    def __init__(self, doc: str = "") -> None:
        super().__init__(0, doc)

    def check(self, value: Any) -> None:
        if not isinstance(value, bytes):
            raise ValueError(f"{self.path} holds bytes, got {value!r}")


class Span(NamedTuple):
    """A number of bytes that fields give: `base + scale * (sum of the fields)`."""

    fields: tuple[str, ...]
    scale: int = 1
    base: int = 0

    def of(self, header: Header) -> int:
        """The bytes that `header` says."""
        total: int = sum(getattr(header, name) for name in self.fields)
        return self.base + self.scale * total


class Header(tuple[Any, ...]):
    """Base of all headers: an immutable tuple of field values in wire order."""

    size: ClassVar[int] = 0
    """Bytes of the fixed part."""
    fields: ClassVar[tuple[Field, ...]] = ()
    LENGTH: ClassVar[Span | None] = None
    """The header with its variable part; None where it is always `size`."""
    EXTENT: ClassVar[Span | None] = None
    """From the header's start to the end of what it delimits; None where it does not say."""
    LIMITS: ClassVar[Mapping[str, tuple[int, int]]] = {}
    """Least and greatest value that a field may have, by name."""
    _defaults: ClassVar[dict[str, Any]] = {}
    _unpack: ClassVar[Callable[..., tuple[Any, ...]]]
    _values: ClassVar[Callable[..., tuple[Any, ...]]]
    _pack: ClassVar[Callable[..., bytes]]

    def __init_subclass__(cls) -> None:
        cls.fields = tuple(value for value in vars(cls).values() if isinstance(value, Field))
        bits = 0
        for index, field in enumerate(cls.fields):
            field.place(cls, index, bits)
            bits += field.bits
        if bits % 8:
            raise TypeError(f"{cls.__name__} is {bits} bits, not whole bytes")
        cls.size = bits // 8
        cls._defaults = {field.name: field.default for field in cls.fields}
        cls._unpack, cls._values, cls._pack = compiled(cls.fields)

    def __new__(cls, **values: Any) -> Self:
        """A header with the given fields, the others at their defaults.

        Raises TypeError for a field the header has not, ValueError for a value that does not fit.
        """
        for name, value in values.items():
            if name not in cls._defaults:
                raise TypeError(f"{cls.__name__} has no field {name!r}")
            getattr(cls, name).check(value)
        return tuple.__new__(cls, (cls._defaults | values).values())

    @classmethod
    def parse(cls, buffer: Buffer, offset: int = 0) -> Self:
        """The header at `offset`; ValueError where fewer than `size` bytes are left."""
        try:
            return tuple.__new__(cls, cls._values(*cls._unpack(buffer, offset)))
        except struct.error:
            left = max(0, len(buffer) - offset)
            message = f"{cls.__name__} at offset {offset} takes {cls.size} bytes, {left} are left"
            raise ValueError(message) from None

    def pack(self) -> bytes:
        """The header's bytes on the wire (fields still to be computed as 0)."""
        return type(self)._pack(*self)

    def replace(self, **values: Any) -> Self:
        """The same header with some fields changed; raises as construction does."""
        return type(self)(**(self.as_dict() | values))

    def as_dict(self) -> dict[str, Any]:
        """Field names and values in wire order."""
        return dict(zip(self._defaults, self, strict=True))

    @property
    def header_length(self) -> int:
        """Bytes on the wire, variable part included."""
        return self.size if self.LENGTH is None else self.LENGTH.of(self)

    @property
    def reach(self) -> int | None:
        """Bytes from the header's start to the end of what it delimits; None where it does not
        say.
        """
        return None if self.EXTENT is None else self.EXTENT.of(self)

    def check(self) -> str:
        """What is wrong with the values on their own; empty where nothing is."""
        for name, (least, greatest) in self.LIMITS.items():
            value = getattr(self, name)
            if not least <= value <= greatest:
                expected = str(least) if least == greatest else f"{least} to {greatest}"
                return f"{name} {value}, expected {expected}"
        if self.reach is not None and self.reach < self.header_length:
            return f"says {self.reach} bytes, less than its own {self.header_length}"
        return ""

    def filled(self, after: int) -> Self:
        """The header with its AUTO lengths set for `after` bytes behind it."""
        return self

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is immutable: use replace({name}=...)")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and tuple.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((type(self), tuple(self)))

    def __repr__(self) -> str:
        named = (f"{name}={value!r}" for name, value in self.as_dict().items())
        return f"{type(self).__name__}({', '.join(named)})"

    def __str__(self) -> str:
        pairs = zip(self.fields, self, strict=True)
        return f"{type(self).__name__} " + " ".join(f"{f.name}={f.text(v)}" for f, v in pairs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), tuple(self))


def _restore(cls: type[Header], values: tuple[Any, ...]) -> Header:
    return tuple.__new__(cls, values)


class Variable(Header):
    """A header of variable length: the fixed fields, then one `Tail`; `header_length` says how
    much in all.
    """

    @classmethod
    def parse(cls, buffer: Buffer, offset: int = 0) -> Self:
        """As Header.parse; a tail that runs past the buffer is as long as the buffer lets it."""
        fixed = super().parse(buffer, offset)
        tail = bytes(buffer[offset + cls.size : offset + fixed.header_length])
        return tuple.__new__(cls, (*fixed[:-1], tail))

    def pack(self) -> bytes:
        return super().pack() + bytes(self[-1])
