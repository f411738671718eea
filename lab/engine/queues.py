"""Completion queues and receive queues: where work and its results wait."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable

from lab.engine.errors import VerbError
from lab.engine.work import Completion, ReceiveWork


class CompletionQueue:
    """Completions in order, at most `capacity`; `notify` is called once for each time it was armed.

    Appending and popping are single deque operations, so one thread may poll while another
    completes.
    """

    def __init__(self, capacity: int, notify: Callable[[], None] | None = None) -> None:
        self.capacity = capacity
        self.overrun = False
        self._completions: deque[Completion] = deque()
        self._notify = notify
        self._armed = self._solicited_only = False

    def __len__(self) -> int:
        return len(self._completions)

    def arm(self, *, solicited_only: bool) -> None:
        """Ask for one notification of the next completion, or of the next solicited or failed one.

        An earlier wish for any completion is not narrowed by a later one (IBTA vol. 1, 11.4.2.2).
        """
        self._solicited_only = solicited_only and (self._solicited_only or not self._armed)
        self._armed = True

    def push(self, completion: Completion) -> bool:
        """Add a completion; False, and the queue is overrun, where there is no room."""
        if len(self) >= self.capacity:
            self.overrun = True
            return False
        self._store(completion)
        wanted = not self._solicited_only or completion.solicited or bool(completion.status)
        if self._armed and wanted:
            self._armed = False
            if self._notify is not None:
                self._notify()
        return True

    def _store(self, completion: Completion) -> None:
        self._completions.append(completion)

    def pop(self) -> Completion | None:
        """The oldest completion, or None."""
        try:
            return self._completions.popleft()
        except IndexError:
            return None

    def pop_rows(self, most: int) -> list[tuple[int, ...]]:
        """The fields of the oldest completions, at most so many."""
        completions = self._completions
        return [completions.popleft() for _ in range(min(most, len(completions)))]

    def forget(self, qpn: int) -> None:
        """Drop the completions of queue pair `qpn` (what a modify to RESET does)."""
        kept = [entry for entry in self._completions if entry.qpn != qpn]
        self._completions.clear()
        self._completions.extend(kept)


class ReceiveQueue:
    """Posted receives of a queue pair, or of a shared receive queue (which has a number).

    `on_limit` is called once when fewer than `limit` are left (SRQ limit; 0 is off).
    """

    def __init__(self, max_wr: int, max_sge: int, number: int = 0) -> None:
        self.max_wr = max_wr
        self.max_sge = max_sge
        self.number = number
        self.limit = 0
        self.on_limit: Callable[[], None] | None = None
        self._works: deque[ReceiveWork] = deque()

    def __len__(self) -> int:
        return len(self._works)

    @property
    def shared(self) -> bool:
        return self.number > 0

    def post(self, work: ReceiveWork) -> None:
        """Add a receive; VerbError where there is no room, or it has too many pieces."""
        if len(self) >= self.max_wr:
            raise VerbError(errno.ENOMEM, f"all {self.max_wr} receives are posted")
        if len(work.sges) > self.max_sge:
            raise VerbError(errno.EINVAL, f"{len(work.sges)} SGEs, {self.max_sge} are allowed")
        self._store(work)

    def _store(self, work: ReceiveWork) -> None:
        self._works.append(work)

    def put_back(self, work: ReceiveWork) -> None:
        """Undo a take."""
        self._works.appendleft(work)

    def take(self) -> ReceiveWork:
        """The oldest receive; IndexError where there is none."""
        work = self._next()
        if len(self) < self.limit:
            self.limit = 0
            if self.on_limit is not None:
                self.on_limit()
        return work

    def _next(self) -> ReceiveWork:
        return self._works.popleft()

    def drain(self) -> list[ReceiveWork]:
        """All of them, and none is left."""
        return [self._next() for _ in range(len(self))]
