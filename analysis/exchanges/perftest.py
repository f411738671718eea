"""perftest (ib_write_bw and family): the exchange in clear on TCP 18515, and what the programs
print.

Each end sends, for each queue pair, `LID:reads:QPN:PSN:rkey:address:GID:SRQN:` in hexadecimal and a
zero byte, several times over (perftest_communication.c, KEY_PRINT_FMT_GID). Standard output has the
same as `local address:` and `remote address:` with the GID on the line below, byte by byte in
decimal. The PSN is the speaker's sq_psn.

With -R (`rdma_cm QPs : ON`) perftest prints PSNs that never reach the wire: the kernel's CM chooses
others. Such a log tells which queue pairs there were and no PSN.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address

from analysis.dialogue import Dialogue, Sent
from analysis.exchanges.text import pairs, printed, stated
from analysis.negotiated import Announced, End, Negotiated, ip_of_gid

SOURCE = "perftest"

MESSAGE = re.compile(
    rb"[0-9a-f]{4}:[0-9a-f]{4}:(?P<qpn>[0-9a-f]{6}):(?P<psn>[0-9a-f]{6}):(?P<r_key>[0-9a-f]{8}):"
    rb"(?P<addr>[0-9a-f]{16}):(?P<gid>[0-9a-f]{2}(?::[0-9a-f]{2}){15}):[0-9a-f]{8}:\0"
)
PRINTED = re.compile(
    r"^\s*(?P<side>local|remote) address: LID \S+ QPN 0x(?P<qpn>[0-9a-f]+) PSN 0x(?P<psn>[0-9a-f]+)"
    r".*\n(?:\s*GID: (?P<gid>\d+(?::\d+){15}))?",
    re.MULTILINE,
)
OVER_CM = re.compile(r"^\s*rdma_cm QPs\s*:\s*ON", re.MULTILINE)


def read(dialogue: Dialogue) -> list[Negotiated]:
    """The connections negotiated in `dialogue`."""
    ends = [_announced(dialogue.sent(by_client=client)) for client in (True, False)]
    return pairs(SOURCE, dialogue, *ends)


def read_log(text: str, observer: str) -> list[Negotiated]:
    """The connections that a program's standard output tells of."""
    over_cm = OVER_CM.search(text) is not None
    found: dict[str, list[Announced]] = {"local": [], "remote": []}
    for match in PRINTED.finditer(text):
        if match["gid"] is None:
            continue  # InfiniBand without GIDs: no address to look for
        end = End(_ip(match["gid"], 10), int(match["qpn"], 16))
        found[match["side"]].append(printed(end, None if over_cm else int(match["psn"], 16)))
    return stated(SOURCE, observer, found["local"], found["remote"])


@lru_cache(4096)
def _ip(gid: str, base: int) -> str | None:
    """The address that 16 numbers with colons between stand for."""
    octets = [int(number, base) for number in gid.split(":")]
    if max(octets) > 255:
        return None
    return ip_of_gid(str(IPv6Address(bytes(octets))))


def _announced(sent: Sent) -> list[Announced]:
    found: dict[int, Announced] = {}
    for match in MESSAGE.finditer(sent.data):
        part = sent.at(match.end() - 1)
        qpn, psn = int(match["qpn"], 16), int(match["psn"], 16)
        if part is None or not qpn:
            continue
        earlier = found.get(qpn)
        copies = (*earlier.copies, psn) if earlier else (psn,)
        frame = earlier.frame if earlier else part.frame
        found[qpn] = Announced(
            End(_ip(match["gid"].decode(), 16), qpn),
            copies[0],
            frame,
            tuple(dict.fromkeys(copies)),
            parameters={"addr": int(match["addr"], 16), "r_key": int(match["r_key"], 16)},
        )
    return list(found.values())
