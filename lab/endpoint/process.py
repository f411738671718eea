"""What the connections of one process share, and what became of them."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial
from typing import Any

from lab.endpoint.config import Config
from lab.endpoint.psn_source import DEFAULT, SOURCES, Dice
from lab.exchange.messages import EndpointInfo, ExchangeError, Hello, Ready, as_dict
from lab.exchange.tls import Channel, Identity, Limits
from lab.flows.connect import PORT_NUM, Connection, Record, address_of, find_gid, gid_of
from lab.flows.end import End, FlowError, Group


class Process:
    """One end's Context and TLS, shared by all its connections."""

    def __init__(self, config: Config, verbs: Any, context: Any, record: Record) -> None:
        self.config, self.verbs, self.context, self.record = config, verbs, context, record
        self.flow = config.running
        self.arguments = {**self.flow.arguments, **config.arguments}
        self.layout = self.flow.layout(self.arguments)
        limits = dict(config.limits)
        self.completion = limits.pop("completion", 30.0)
        self.limits = Limits(**limits)
        identity = Identity(config.ca, config.certificate, config.key)
        self.tls = identity.context(config.role, config.keylog)
        self.sgid_index = find_gid(context, config.speaks_from)
        active = 128 << int(context.query_port(PORT_NUM).active_mtu)  # enum ibv_mtu
        self.path_mtu = min(config.path_mtu, active)
        self.negotiated: set[int] = set()  # connections' numbers
        self.ended = 0  # of those negotiated
        self.failures: list[str] = []
        self.group = Group(max(1, config.clients))
        self._lock = threading.Lock()
        self._choose = SOURCES[config.psn_source](Dice(config.seed, config.role))

    def hello(self, connection: int) -> Hello:
        """What this end says first."""
        config = self.config
        return Hello(name=config.role, scenario=config.scenario, connection=connection)

    def converse(self, channel: Channel, peer: Hello) -> None:
        """One connection after the hellos, from a queue pair in RESET to bye.

        Raises ExchangeError; a failure after the negotiation is also kept in `failures`.
        """
        number = peer.connection
        record = partial(self.record, connection=number)
        with self._objects(record) as ours:
            local = self._announce(ours, number)
            remote = channel.exchange(local)
            self._negotiated(record, channel, peer.name, local, remote)
            self.negotiated.add(number)
            orderly = False
            try:
                self._run(ours, channel, number, local, remote)
                orderly = True
            except ExchangeError as error:
                self.group.leave()
                self.failures.append(f"connection {number}: {error.code}: {error}")
                raise
            except Exception as error:  # of verbs, or ours: the other connections go on
                self.group.leave()
                self.failures.append(f"connection {number}: {type(error).__name__}: {error}")
                raise FlowError(f"{type(error).__name__}: {error}") from error
            finally:
                record("closed", orderly=orderly)
                with self._lock:
                    self.ended += 1

    def _objects(self, record: Record) -> Connection:
        return Connection(self.verbs, self.context, self.layout.length, record, self.flow.setup)

    def _announce(self, ours: Connection, number: int) -> EndpointInfo:
        return EndpointInfo(
            qpn=ours.qp.qp_num,
            sq_psn=self._sq_psn(number, ours.qp.qp_num),
            gid=gid_of(self.config.speaks_from),
            path_mtu=self.path_mtu,
            addr=ours.mr.buf,
            r_key=ours.mr.rkey,
            length=self.layout.length,
        )

    def _sq_psn(self, number: int, qpn: int) -> int:
        with self._lock:
            return self._choose(number, qpn)

    def _told_source(self) -> str:
        """What chose the PSNs; "seed" where the default was made repeatable."""
        source, seed = self.config.psn_source, self.config.seed
        return "seed" if source == DEFAULT and seed is not None else source

    def _negotiated(
        self, record: Record, channel: Channel, peer: str, local: EndpointInfo, remote: EndpointInfo
    ) -> None:
        record(
            "negotiated",
            role=self.config.role,
            peer=peer,
            tls=channel.description(),
            local={**as_dict(local), "ip": address_of(local.gid)},
            remote={**as_dict(remote), "ip": address_of(remote.gid)},
            sq_psn_source=self._told_source(),
        )

    def _run(
        self,
        ours: Connection,
        channel: Channel,
        number: int,
        local: EndpointInfo,
        remote: EndpointInfo,
    ) -> None:
        if remote.length != local.length:
            raise ExchangeError(
                "buffer",
                f"expected the peer's buffer to have {local.length} bytes, found {remote.length}: "
                "run the flow with the same arguments at both ends",
            )
        path_mtu = min(local.path_mtu, remote.path_mtu)
        ahead = self.flow.setup.ahead if self.config.role == "client" else 0
        begun = replace(local, sq_psn=(local.sq_psn + ahead) & 0xFFFFFF)
        ours.connect(begun, remote, path_mtu, self.sgid_index)
        end = End(
            verbs=self.verbs,
            role=self.config.role,
            connection=number,
            pd=ours.pd,
            mr=ours.mr,
            channel=ours.channel,
            cq=ours.cq,
            qp=ours.qp,
            receives=ours.srq or ours.qp,
            ah=ours.ah,
            layout=self.layout,
            local=local,
            remote=remote,
            path_mtu=path_mtu,
            barrier=channel.barrier,
            watch=channel.watch,
            record=partial(self.record, connection=number),
            group=self.group,
            arguments=self.arguments,
            limit=self.completion,
        )
        self.flow.prepare(end)
        channel.exchange(Ready())
        self.flow.run(end)
        channel.bye()
