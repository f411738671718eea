"""A secure flow as a capture: parameters exchanged inside real TLS, then RDMA both ways."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from captures import run, truth
from dissectors import psn
from dissectors.aeth import AETH
from dissectors.bth import BTH
from dissectors.header import Header
from dissectors.opcode import Opcode
from dissectors.reth import RETH
from tests.analysis.scene import START, A, B, Scene

MTU = 1024
RNR_NAK = 0x2C
ACK = 0x1F


@dataclass(frozen=True)
class End:
    ip: str
    qpn: int
    sq_psn: int
    name: str


def message(**content: object) -> bytes:
    """A message of the exchange as ARCHITECTURE.md lays it out."""
    text = json.dumps({"rocelab": 1, **content}).encode()
    return len(text).to_bytes(4, "big") + text


def exchange(client: End, server: End, scenario: str) -> Iterator[tuple[str, bytes]]:
    ends = {"client": client, "server": server}
    for who, end in ends.items():
        yield who, message(type="hello", name=end.name, scenario=scenario)
    for who, end in ends.items():
        yield (
            who,
            message(
                type="endpoint",
                qpn=end.qpn,
                sq_psn=end.sq_psn,
                gid=f"::ffff:{end.ip}" if "." in end.ip else end.ip,
                path_mtu=MTU,
                addr=0x7F0000001000,
                r_key=0x1234,
                length=65536,
            ),
        )
    for who in ends:
        yield who, message(type="ready")


def data(scene: Scene, me: End, you: End) -> None:
    """SEND, WRITE of eight packets, READ of three, and a SEND that meets an RNR NAK."""

    def bth(opcode: Opcode, ahead: int, *, back: bool = False) -> BTH:
        qpn = me.qpn if back else you.qpn
        return BTH(opcode=opcode, dest_qp=qpn, psn=psn.add(me.sq_psn, ahead))

    def ask(opcode: Opcode, ahead: int, *headers: Header, payload: bytes = b"") -> None:
        scene.roce(me.ip, you.ip, bth(opcode, ahead), *headers, payload=payload)

    def answer(opcode: Opcode, ahead: int, *headers: Header, payload: bytes = b"") -> None:
        scene.roce(you.ip, me.ip, bth(opcode, ahead, back=True), *headers, payload=payload)

    def acknowledge(ahead: int, msn: int, syndrome: int = ACK) -> None:
        answer(Opcode.RC_ACKNOWLEDGE, ahead, AETH(syndrome=syndrome, msn=msn))

    def there(length: int) -> RETH:
        return RETH(va=0x7F0000001000, r_key=0x1234, dma_len=length)

    ask(Opcode.RC_SEND_ONLY, 0, payload=b"hello over RDMA")
    acknowledge(0, 1)
    ask(Opcode.RC_RDMA_WRITE_FIRST, 1, there(8 * MTU), payload=bytes(MTU))
    for ahead in range(2, 8):
        ask(Opcode.RC_RDMA_WRITE_MIDDLE, ahead, payload=bytes(range(256)) * 4)
    ask(Opcode.RC_RDMA_WRITE_LAST, 8, payload=bytes(MTU))
    acknowledge(8, 2)
    ask(Opcode.RC_RDMA_READ_REQUEST, 9, there(3 * MTU))
    full = {"payload": bytes(MTU)}
    answer(Opcode.RC_RDMA_READ_RESPONSE_FIRST, 9, AETH(syndrome=ACK, msn=3), **full)
    answer(Opcode.RC_RDMA_READ_RESPONSE_MIDDLE, 10, **full)
    answer(Opcode.RC_RDMA_READ_RESPONSE_LAST, 11, AETH(syndrome=ACK, msn=3), **full)
    ask(Opcode.RC_SEND_ONLY, 12, payload=b"too early")
    acknowledge(12, 3, RNR_NAK)
    ask(Opcode.RC_SEND_ONLY, 12, payload=b"too early")
    acknowledge(12, 4)


def secure_flow(
    clients: int = 1, *, name: str = "client", scenario: str = "secure-flow", on_wire: int = 0
) -> Scene:
    """`clients` connections to one server; with `on_wire`, A's packets carry PSNs that far off."""
    scene = Scene()
    for number in range(clients):
        client = End(A, 0x20 + number, (0xFFFFFA + 7919 * number) & psn.MASK, name)
        server = End(B, 0x120 + number, (0x5EC001 + 104729 * number) & psn.MASK, "server")
        scene.tls(exchange(client, server, scenario), client=(A, 40000 + number))
        used = End(client.ip, client.qpn, psn.add(client.sq_psn, on_wire), name)
        data(scene, used, server)
        data(scene, server, used)
    return scene


def run_folder(folder: Path, *, scenario: str = "secure-flow") -> Path:
    """A run directory as `rocelab run` leaves it: capture, endpoint logs, run.json."""
    secure_flow(scenario=scenario).write(folder / "capture.pcapng")
    client, server = End(A, 0x20, 0xFFFFFA, "client"), End(B, 0x120, 0x5EC001, "server")
    for me, you in ((client, server), (server, client)):
        with truth.Log(folder / f"truth-{me.name}.jsonl") as log:
            told = {"local": parameters(me), "remote": parameters(you)}
            common = {"connection": 7, "qpn": me.qpn}
            log.write(START + 1_500_000, "negotiated", role=me.name, **common, **told)
            log.write(START + 1_600_000, "qp_state", **common, **{"from": "RESET", "to": "INIT"})
            expects = {"rq_psn": you.sq_psn, "dest_qp_num": you.qpn, "path_mtu": MTU}
            log.write(START + 1_700_000, "qp_state", **common, to="RTR", attributes=expects)
            sends = {"sq_psn": me.sq_psn}
            log.write(START + 1_800_000, "qp_state", **common, to="RTS", attributes=sends)
            done = {"opcode": "IBV_WR_SEND", "wr_id": 1, "length": 15, "status": "IBV_WC_SUCCESS"}
            log.write(START + 3_000_000, "work", **common, **done)
            log.write(START + 4_000_000, "checked", **common, what="SEND", length=15, ok=True)
    made = run.Run(
        id="20231114-221320-secure-flow",
        scenario=scenario,
        backend="userspace",
        status="complete",
        started_ns=START,
        ended_ns=START + 10**9,
        hosts={"kind": "netns", "why": "root", "server": {"ip": B}, "client": {"ip": A}},
        capture={"file": "capture.pcapng", "method": "tcpdump", "received": 64, "dropped": 0},
        versions={"rocelab": "0.1.0"},
        sha256=run.evidence(folder),
    )
    run.save(folder, made)
    return folder


def parameters(end: End) -> dict[str, object]:
    """What an end announces, as the truth log writes it."""
    return asdict(end) | {"gid": f"::ffff:{end.ip}", "path_mtu": MTU, "r_key": 0x1234}
