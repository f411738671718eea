"""What tshark says of the fields that our declarations name."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterable
from functools import cache
from ipaddress import ip_address
from pathlib import Path

from dissectors.header import Field, Header
from tests.requires import tool

QUIET = ("rpcordma", "rpc", "tftp")
"""Protocols that tshark sees in RDMA payload by heuristics, or behind a source port."""


def write_pcap(path: Path, link_type: int, frames: Iterable[bytes]) -> None:
    """A microsecond little-endian pcap, made here so that no reader of ours has a hand in it."""
    records = (struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame for frame in frames)
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, link_type)
                     + b"".join(records))  # fmt: skip


@cache
def known_names() -> frozenset[str]:
    """Names of all fields that this tshark has."""
    tool("tshark")
    done = subprocess.run(["tshark", "-G", "fields"], capture_output=True, text=True, check=True)
    rows = (line.split("\t") for line in done.stdout.splitlines())
    return frozenset(row[2] for row in rows if row[0] == "F")


def all_fields(kinds: Iterable[type[Header]]) -> list[Field]:
    """The fields of these headers that tshark has a name for."""
    return [field for kind in kinds for field in kind.fields if field.tshark in known_names()]


def values(path: Path, names: list[str]) -> list[dict[str, list[int]]]:
    """For each frame: field name -> its values, outermost first, as integers."""
    disabled = [part for name in QUIET for part in ("--disable-protocol", name)]
    asked = [part for name in names for part in ("-e", name)]
    command = ["tshark", "-n", "-r", str(path), *disabled, "-T", "fields", "-E", "occurrence=a",
               "-E", "aggregator=;", "-E", "separator=|", *asked]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [
        {name: [number(text) for text in cell.split(";") if text]
         for name, cell in zip(names, line.split("|"), strict=True)}
        for line in done.stdout.splitlines()
    ]  # fmt: skip


def number(text: str) -> int:
    """tshark's text of a value: decimal, hexadecimal, True, a MAC or IP address, bytes."""
    if text in ("True", "False"):
        return int(text == "True")
    try:
        return int(text, 0)
    except ValueError:
        pass
    if text.count(":") == 5 and all(len(part) == 2 for part in text.split(":")):
        return int(text.replace(":", ""), 16)
    try:
        return int(ip_address(text))
    except ValueError:
        return int(text.replace(":", ""), 16)
