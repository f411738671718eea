"""What a packet to queue pair 0 or 1 says: MAD header, CM message or path record, IP
addresses.
"""

from __future__ import annotations

from dissectors.bth import BTH
from dissectors.cm import CM_REQ, CM_SIDR_REQ, IP_CM, IP_PORT_SPACE, MESSAGES
from dissectors.deth import DETH
from dissectors.header import Buffer, Header
from dissectors.mad import CLASS_CM, CLASS_SA, MAD
from dissectors.sa import ATTRIBUTE_PATH_RECORD, RMPP, SA, PathRecord


def is_management(bth: BTH, deth: DETH | None) -> bool:
    """Whether the payload of a packet with these headers is a MAD."""
    return deth is not None and bth.dest_qp in (0, 1)


def parse_management(payload: Buffer) -> tuple[tuple[int, Header], ...]:
    """The headers of a MAD that the payload has room for, outermost first, each behind its
    offset; never raises.
    """
    if len(payload) < MAD.size:
        return ()
    mad = MAD.parse(payload)
    headers: list[tuple[int, Header]] = [(0, mad)]
    start = MAD.size
    for kind in following(mad.mgmt_class, mad.attribute_id):
        if start + kind.size > len(payload):
            return tuple(headers)
        headers.append((start, kind.parse(payload, start)))
        start += kind.size
    last = headers[-1][1]
    if isinstance(last, CM_REQ | CM_SIDR_REQ) and last.service_id >> 24 == IP_PORT_SPACE:
        headers.append((start - len(last.private_data), IP_CM.parse(last.private_data)))
    return tuple(headers)


def cut_management(payload: Buffer) -> tuple[int, type[Header]] | None:
    """The first header of a MAD that the payload has not all of, behind its offset; None where it
    has all.
    """
    headers = [header for _, header in parse_management(payload) if not isinstance(header, IP_CM)]
    mad = headers[0] if headers else None
    called = following(mad.mgmt_class, mad.attribute_id) if isinstance(mad, MAD) else ()
    kinds: tuple[type[Header], ...] = (MAD, *called)
    left = kinds[len(headers) :]
    return (sum(header.size for header in headers), left[0]) if left else None


def following(mgmt_class: int, attribute_id: int) -> tuple[type[Header], ...]:
    """The headers that follow the common header of a MAD, as far as we read them."""
    if mgmt_class == CLASS_CM and attribute_id in MESSAGES:
        return (MESSAGES[attribute_id],)
    if mgmt_class == CLASS_SA:
        record = (PathRecord,) if attribute_id == ATTRIBUTE_PATH_RECORD else ()
        return (RMPP, SA, *record)
    return ()
