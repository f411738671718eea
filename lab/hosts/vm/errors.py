"""What goes wrong with virtual machines."""

from __future__ import annotations

from lab.hosts.model import HostsError


class VmError(HostsError):
    """No image, or no guest; says what was expected, what was found and what to do."""
