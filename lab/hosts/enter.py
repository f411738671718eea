"""Runs a program inside namespaces so that it dies with whoever asked for it.

    python -I -S enter.py PARENT_PID [NAMESPACE_FD ...] -- PROGRAM [ARGUMENT ...]

The namespaces are joined in the order given: a user namespace first, since it grants the right to
join the others. The program keeps the network capabilities a user namespace gives although it does
not run as root there. See namespaces(7), capabilities(7), prctl(2).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

_PR_SET_PDEATHSIG = 1
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522
_NETWORK_CAPABILITIES = (12, 13)  # CAP_NET_ADMIN, CAP_NET_RAW

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Put the calling thread into new namespaces (unshare(2)); OSError if not permitted."""
    _call("unshare", flags)


def setns(fd: int) -> None:
    """Put the calling thread into the namespace `fd` refers to (setns(2)); OSError if refused."""
    _call("setns", fd, 0)


def die_with(parent: int) -> None:
    """Be killed when the thread of process `parent` that started this process ends."""
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def keep_network_capabilities() -> None:
    """Let the next program keep CAP_NET_ADMIN and CAP_NET_RAW without being root."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then their upper halves
    _call("capget", header, sets)
    sets[2] = sum(1 << capability for capability in _NETWORK_CAPABILITIES)
    _call("capset", header, sets)
    for capability in _NETWORK_CAPABILITIES:
        _call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0)


def main() -> None:
    """Join, arrange to die with the parent, become the program."""
    before = sys.argv.index("--")
    parent, *namespaces = (int(word) for word in sys.argv[1:before])
    program = sys.argv[before + 1 :]
    for fd in namespaces:
        setns(fd)
        os.close(fd)
    if namespaces and os.geteuid() != 0:
        keep_network_capabilities()
    die_with(parent)
    try:
        os.execvp(program[0], program)
    except OSError as error:
        sys.exit(f"cannot run {program[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
