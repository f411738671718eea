"""A verb's refusal: the errno that libibverbs returns, and why in words."""

from __future__ import annotations


class VerbError(Exception):
    """`errno` as verbs gives it; `reason` says which rule was broken."""

    def __init__(self, errno: int, reason: str) -> None:
        super().__init__(reason)
        self.errno = errno
        self.reason = reason
