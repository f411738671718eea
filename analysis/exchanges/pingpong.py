"""ibv_*_pingpong (rdma-core): the exchange in clear on TCP 18515, and what the programs print.

Each end sends, for each queue pair, `LID:QPN:PSN:GID` in hexadecimal and a zero byte (rdma-core,
libibverbs/examples/rc_pingpong.c); srq_pingpong fills its table with zeros. The same stands on
standard output as `local address:` and `remote address:`. The PSN is the speaker's sq_psn.
"""

from __future__ import annotations

import re
from functools import lru_cache

from analysis.dialogue import Dialogue, Sent
from analysis.exchanges.text import pairs, printed, stated
from analysis.negotiated import Announced, End, Negotiated, ip_of_gid

SOURCE = "pingpong"

MESSAGE = re.compile(
    rb"(?P<lid>[0-9a-f]{4}):(?P<qpn>[0-9a-f]{6}):(?P<psn>[0-9a-f]{6}):(?P<gid>[0-9a-f]{32})\0"
)
PRINTED = re.compile(
    r"^\s*(?P<side>local|remote) address:\s+LID 0x[0-9a-f]+, QPN 0x(?P<qpn>[0-9a-f]+), "
    r"PSN 0x(?P<psn>[0-9a-f]+), GID (?P<gid>\S+)",
    re.MULTILINE,
)


def read(dialogue: Dialogue) -> list[Negotiated]:
    """The connections negotiated in `dialogue`."""
    ends = [_announced(dialogue.sent(by_client=client)) for client in (True, False)]
    return pairs(SOURCE, dialogue, *ends)


def read_log(text: str, observer: str) -> list[Negotiated]:
    """The connections that a program's standard output tells of."""
    found: dict[str, list[Announced]] = {"local": [], "remote": []}
    for match in PRINTED.finditer(text):
        end = End(ip_of_gid(match["gid"]), int(match["qpn"], 16))
        found[match["side"]].append(printed(end, int(match["psn"], 16)))
    return stated(SOURCE, observer, found["local"], found["remote"])


@lru_cache(4096)
def _ip(gid: str) -> str | None:
    """The address that 32 hexadecimal digits stand for."""
    return ip_of_gid(":".join(re.findall("....", gid)))


def _announced(sent: Sent) -> list[Announced]:
    found = []
    at = 0
    while match := MESSAGE.match(sent.data, at):
        at = match.end()
        part = sent.at(at - 1)
        if part is not None and int(match["qpn"], 16):
            psn = int(match["psn"], 16)
            end = End(_ip(match["gid"].decode()), int(match["qpn"], 16))
            found.append(Announced(end, psn, part.frame, (psn,)))
    return found
