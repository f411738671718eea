"""Queue pairs, where pyverbs has them (pyverbs.qp)."""

from lab.verbs.qp_attr import ECE, QPAttr, QPCap, QPInitAttr, QPInitAttrEx
from lab.verbs.qpex import DataBuffer, QPEx
from lab.verbs.queue_pair import QP

__all__ = [
    "ECE",
    "QP",
    "DataBuffer",
    "QPAttr",
    "QPCap",
    "QPEx",
    "QPInitAttr",
    "QPInitAttrEx",
]
