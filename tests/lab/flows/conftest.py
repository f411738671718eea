"""Two ends in one process: two devices, real UDP between them, real TLS for the exchange."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from lab.endpoint.config import Config
from lab.endpoint.device import counters, opened
from lab.endpoint.process import Process
from lab.endpoint.roles import Calling, Serving
from lab.exchange.session import Role
from lab.exchange.tls import Identity
from tests.lab.authority import SERVER_NAME


@dataclass
class Outcome:
    """What one end recorded, what failed there, what its device counted."""

    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)

    def record(self, event: str, **keys: Any) -> None:
        self.events.append((event, keys))

    def named(self, event: str) -> list[dict[str, Any]]:
        return [keys for name, keys in self.events if name == event]


@dataclass
class Ends:
    """Addresses of this test process' own, so that test runs side by side do not meet."""

    identities: dict[Role, Identity]
    addresses: dict[Role, str]

    def run(self, flow: str, **options: Any) -> dict[Role, Outcome]:
        """Run `flow` to its end at both ends."""
        outcomes: dict[Role, Outcome] = {"server": Outcome(), "client": Outcome()}
        with ExitStack() as closing:
            processes = {
                role: self._process(role, outcomes[role], closing, scenario=flow, **options)
                for role in outcomes
            }
            serving = Serving(processes["server"])
            calling = Calling(processes["client"], serving.port)
            thread = threading.Thread(target=serving.run)
            thread.start()
            calling.run()
            serving.finish()
            thread.join()
            for role, process in processes.items():
                outcomes[role].failures = process.failures
                outcomes[role].counters = counters(process.context, "")
        return outcomes

    def _process(self, role: Role, outcome: Outcome, closing: ExitStack, **keys: Any) -> Process:
        identity = self.identities[role]
        config = Config(
            role=role,
            address=self.addresses[role],
            ca=identity.ca,
            certificate=identity.certificate,
            key=identity.key,
            truth="",
            server_name=SERVER_NAME,
            server_address=self.addresses["server"],
            port=0,
            **keys,
        )
        verbs, context, _ = closing.enter_context(opened(config))
        return Process(config, verbs, context, outcome.record)


@pytest.fixture
def ends(server_identity: Identity, client_identity: Identity) -> Ends:
    pid = os.getpid()
    network = f"127.{1 + pid // 250 % 250}.{pid % 250}"
    return Ends(
        {"server": server_identity, "client": client_identity},
        {"server": f"{network}.11", "client": f"{network}.12"},
    )
