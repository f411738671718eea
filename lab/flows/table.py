"""All flows by name: that of the module, with hyphens."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from lab.flows import connect_only, pingpong, secure_flow
from lab.flows.end import End, Layout


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow: `prepare` before the peer may send (receives, first values), then `run`.

    `room(arguments)` is the bytes each half of the buffer needs; `arguments` are the
    whole numbers a scenario may set, with their defaults.
    """

    name: str
    prepare: Callable[[End], None]
    run: Callable[[End], None]
    room: Callable[[dict[str, int]], int]
    arguments: dict[str, int]
    page: str

    def layout(self, arguments: dict[str, int]) -> Layout:
        """Halves of whole 64-byte lines, so that the words for atomics are aligned."""
        return Layout(-(-self.room(arguments) // 64) * 64)


def _flow(module: ModuleType) -> Flow:
    return Flow(
        name=module.__name__.rpartition(".")[2].replace("_", "-"),
        prepare=module.prepare,
        run=module.run,
        room=module.room,
        arguments=module.ARGUMENTS,
        page=inspect.getdoc(module) or "",
    )


FLOWS: dict[str, Flow] = {
    flow.name: flow for flow in map(_flow, (secure_flow, connect_only, pingpong))
}
