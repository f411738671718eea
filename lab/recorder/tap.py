"""Records without capturing: each endpoint writes what it sends, a relay what TLS bytes it passes.

For machines where nobody may capture. What it cannot see is what the network does between the ends.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.recorder.listening import Listening
from lab.recorder.merge import merge
from lab.recorder.model import Counts, Method, Start

PORT = 4433
_HONEST = (
    "RoCE frames as each endpoint sent them, not as they arrived; "
    "TLS bytes as a relay passed them on, TCP and IP headers rebuilt"
)


class TapRecorder:
    """`Recorder` by the endpoints themselves: `taps` says which files they are to write."""

    method: Method = "tap"

    def __init__(
        self, start: Start, server: str, client: str, directory: Path, *, why: str
    ) -> None:
        """Begin relaying TLS at the address `client`, to the address `server`.

        `why` says why not capturing. RecorderError if the relay cannot listen.
        """
        self.why = f"{_HONEST} ({why})"
        self.taps: Mapping[str, Path] = {
            role: directory / f"tap-{role}.pcapng" for role in ("server", "client")
        }
        relayed = directory / "tap-tls.pcapng"
        self.parts: Sequence[Path] = (*self.taps.values(), relayed)
        self._whole = directory / "capture.partial.pcapng"
        words = [sys.executable, "-m", "lab.recorder.relay", client, server, str(PORT)]
        process = start([*words, str(relayed)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self._relay = Listening("tap", process)

    def stop(self) -> Counts | None:
        """See `Recorder.stop`: nobody counted what there was, so there are no counts."""
        self._relay.finish()
        return None

    def kill(self) -> None:
        """See `Recorder.kill`."""
        self._relay.kill()

    def whole(self) -> Path:
        """See `Recorder.whole`."""
        merge(self.parts, self._whole)
        return self._whole
