"""A recording program that says `listening on` when it has begun and ends on SIGINT."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable

from lab.recorder.model import RecorderError

START_SECONDS = 15.0
STOP_SECONDS = 15.0


class Listening:
    """Such a program, heard through its standard error, a pipe."""

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Wait until it has begun; RecorderError, with its last words, if it ends instead."""
        self.name = name
        self._process = process
        self._said = ""
        try:
            self._await(lambda: "listening on" in self._said, START_SECONDS)
        except BaseException:
            self.kill()
            raise

    def ask(self, number: signal.Signals, answered: Callable[[str], bool], seconds: float) -> str:
        """Send a signal; what it says until `answered(words)`."""
        self._said = ""
        self._process.send_signal(number)
        self._await(lambda: answered(self._said), seconds)
        return self._said

    def finish(self) -> None:
        """End it with SIGINT; RecorderError if it takes too long or has already ended."""
        try:
            if self._process.poll() is not None:
                raise RecorderError(f"{self.name} ended before its time")
            self._process.send_signal(signal.SIGINT)
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise RecorderError(f"{self.name} did not end within {STOP_SECONDS:g} s") from None
        finally:
            self.kill()

    def kill(self) -> None:
        """End it now. Twice does nothing."""
        self._process.kill()
        self._process.wait()
        if self._process.stderr:
            self._process.stderr.close()

    def _await(self, done: Callable[[], bool], seconds: float) -> None:
        """Read what the program says until `done()`; RecorderError when it ends or takes longer."""
        stderr = self._process.stderr
        assert stderr is not None
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(stderr, selectors.EVENT_READ)
            while not done():
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise RecorderError(f"{self.name} said nothing for {seconds:.0f} s")
                piece = os.read(stderr.fileno(), 65536)
                if not piece:
                    raise RecorderError(f"{self.name} ended: {self._last_words()}")
                self._said += piece.decode(errors="replace")

    def _last_words(self) -> str:
        words = " ".join(self._said.replace(f"{self.name}:", " ").split())
        return words[-300:] or "without a word"
