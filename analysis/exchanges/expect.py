"""What the user says was negotiated: `--expect IP:QPN=PSN`, numbers as in C (0x: hexadecimal)."""

from __future__ import annotations

import re

from analysis.negotiated import Announced, End, Negotiated, ip_of_gid

SOURCE = "expect"

FORM = re.compile(r"\[?(?P<ip>[0-9A-Fa-f.:]+?)\]?:(?P<qpn>\w+)=(?P<psn>\w+)")


def read(text: str) -> Negotiated:
    """The statement that `text` makes: the sq_psn of one end. Raises ValueError."""
    match = FORM.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        ip, qpn, psn = ip_of_gid(match["ip"]), int(match["qpn"], 0), int(match["psn"], 0)
    except ValueError:
        ip, qpn, psn = None, -1, -1
    if ip is None or not (0 <= qpn < 1 << 24 and 0 <= psn < 1 << 24):
        raise ValueError(
            f"expected IP:QPN=PSN with numbers of 24 bits, such as 10.0.0.1:0x11=0x6436e9, "
            f"found {text!r}"
        )
    known = Announced(End(ip, qpn), psn, copies=(psn,))
    return Negotiated(SOURCE, SOURCE, f"--expect {text}", known, Announced(End(None, None), None))
