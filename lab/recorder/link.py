"""Records a link that is ours: the relay between two machines writes what passes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.recorder.listening import STOP_SECONDS, Listening
from lab.recorder.model import Counts, Method, Start
from lab.wire.relay import ENDS


class LinkRecorder:
    """`Recorder` that is also the link: there is none before it begins, nor after it ends."""

    method: Method = "relay"
    why = ""

    def __init__(
        self,
        start: Start,
        wires: Mapping[str, Sequence[int]],
        path: Path,
        *,
        plan: Path | None = None,
        truth: Path | None = None,
    ) -> None:
        """Begin relaying between the sockets `wires` (by end, one or two as in lab.wire.port) into
        the pcapng file `path`.

        `plan` is a fault plan (lab.wire.plan), `truth` the client's truth log, in which the relay
        finds the PSNs the plan counts from. RecorderError if it cannot begin.
        """
        self.taps: Mapping[str, Path] = {}
        self.parts: Sequence[Path] = (path,)
        fds = [fd for end in ENDS for fd in wires[end]]
        words = [sys.executable, "-m", "lab.wire.relay", "--file", str(path)]
        for option, file in (("--plan", plan), ("--truth", truth)):
            words += [option, str(file)] if file else []
        process = start(
            [*words, *(",".join(map(str, wires[end])) for end in ENDS)],
            pass_fds=fds,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._relay = Listening("relay", process)

    def stop(self) -> Counts:
        """See `Recorder.stop`."""
        try:
            said = self._relay.ask(signal.SIGUSR1, lambda text: "\n" in text, STOP_SECONDS)
            self._relay.finish()
        finally:
            self.kill()
        received, lost = map(int, re.findall(r"\d+", said)[:2])
        return Counts(received, lost)

    def kill(self) -> None:
        """See `Recorder.kill`."""
        self._relay.kill()

    def whole(self) -> Path:
        """See `Recorder.whole`."""
        return self.parts[0]
