"""The errors of pyverbs (pyverbs.pyverbs_error)."""

from __future__ import annotations

import os


class PyverbsError(Exception):
    """Base of the others; the message ends with the errno's own text where there is one.

    Support: full.
    """

    def __init__(self, msg: str, error_code: int = -1) -> None:
        if error_code != -1:
            msg = f"{msg}. Errno: {error_code}, {os.strerror(error_code)}"
        super().__init__(msg)


class PyverbsRDMAError(PyverbsError):
    """A verb failed; `error_code` is its errno.

    Support: full.
    """

    def __init__(self, msg: str, error_code: int = -1) -> None:
        super().__init__(msg, error_code)
        self._error_code = error_code

    @property
    def error_code(self) -> int:
        return self._error_code


class PyverbsUserError(PyverbsError):
    """The caller's own mistake, found before any verb was called.

    Support: full.
    """

    def __init__(self, msg: str) -> None:
        super().__init__(msg)
