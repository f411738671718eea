"""XRC domains (pyverbs.xrcd): there are none, as on rxe."""

from __future__ import annotations

from lab.verbs.base import PyverbsCM, PyverbsObject, unsupported
from lab.verbs.device import Context


class XRCDInitAttr(PyverbsObject):
    """What to open an XRC domain with.

    Support: full, but there are no XRC domains.
    """

    def __init__(self, comp_mask: int, oflags: int, fd: int) -> None:
        self.comp_mask = comp_mask
        self.oflags = oflags
        self.fd = fd


class XRCD(PyverbsCM):
    """An XRC domain.

    Support: no. Queue pairs are RC, UC and UD.
    """

    def __init__(self, context: Context, init_attr: XRCDInitAttr) -> None:
        unsupported("XRC")
