"""Where bytes are kept: capture files, run directories, truth logs (pure file formats).

Importing this needs the standard library alone; the packet table is loaded when asked for.
"""

from captures.capture import Capture, open  # noqa: A004 - captures.open reads best
from captures.model import CaptureError, Damage, Frame, Interface

__all__ = ["Capture", "CaptureError", "Damage", "Frame", "Interface", "open"]
