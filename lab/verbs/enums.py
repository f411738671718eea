"""The enumerations under the name they had up to pyverbs 44 (pyverbs.enums)."""

from lab.verbs.libibverbs_enums import *  # noqa: F403
