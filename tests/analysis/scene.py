"""Captures made to order: TLS by the ssl module, packets by `Packet.build`, files by the writer.

The bytes inside TLS are encrypted by a real client and a real server that talk through memory.
"""

from __future__ import annotations

import json
import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from pathlib import Path

import trustme

from captures.pcapng_writer import Writer
from dissectors.aeth import AETH
from dissectors.bth import BTH
from dissectors.cm import CM_REP, CM_REQ
from dissectors.deth import DETH
from dissectors.ethernet import Ethernet
from dissectors.header import Header
from dissectors.ip import IPv4, IPv6
from dissectors.mad import CLASS_CM, MAD
from dissectors.opcode import Opcode
from dissectors.packet import Packet
from dissectors.reth import RETH
from dissectors.tcp import TCP
from dissectors.udp import UDP

A, B = "10.77.0.2", "10.77.0.1"
"""Client and server."""
MICROSECOND = 1_000
START = 1_700_000_000 * 10**9


@cache
def authority() -> trustme.CA:
    """One certificate authority for all scenes."""
    return trustme.CA()


def ip_header(source: str, target: str, **fields: int) -> Header:
    """The IP header between two addresses, of the version they have."""
    one, other = ip_address(source), ip_address(target)
    kind = IPv4 if one.version == 4 else IPv6
    return kind(src=_value(kind, one), dst=_value(kind, other), **fields)


def _value(kind: type[Header], address) -> int | bytes:
    return int(address) if kind is IPv4 else address.packed


@dataclass
class Scene:
    """Frames in order, one every 100 microseconds, and the key log of their TLS."""

    frames: list[bytes] = field(default_factory=list)
    key_log: str = ""

    def add(self, frame: bytes) -> int:
        """Append a frame; its number."""
        self.frames.append(frame)
        return len(self.frames)

    def roce(self, source: str, target: str, *headers: Header, payload: bytes = b"") -> int:
        """Append one RoCEv2 packet with a correct ICRC; its frame number."""
        udp = UDP(src_port=49152, dst_port=4791)
        packet = Packet((Ethernet(), ip_header(source, target), udp, *headers), payload)
        return self.add(packet.build())

    def tcp(
        self, source: tuple[str, int], target: tuple[str, int], payload: bytes, **fields
    ) -> int:
        """Append one TCP segment; its frame number."""
        tcp = TCP(src_port=source[1], dst_port=target[1], window=65535, **fields)
        packet = Packet((Ethernet(), ip_header(source[0], target[0]), tcp), payload)
        return self.add(packet.build())

    def conversation(
        self,
        said: Iterable[tuple[str, bytes]],
        client: tuple[str, int] = (A, 40000),
        server: tuple[str, int] = (B, 4433),
    ) -> None:
        """A TCP connection in which `client` and `server` say these bytes in turn."""
        ends = {"client": (client, server), "server": (server, client)}
        sent = {"client": 1000, "server": 2000}
        self.tcp(client, server, b"", sequence=sent["client"], syn=1)
        self.tcp(server, client, b"", sequence=sent["server"], acknowledgement=1001, syn=1, ack=1)
        sent = {who: number + 1 for who, number in sent.items()}
        other = {"client": "server", "server": "client"}

        def segment(who: str, data: bytes, **flags: int) -> None:
            self.tcp(
                *ends[who],
                data,
                sequence=sent[who],
                acknowledgement=sent[other[who]],
                ack=1,
                **flags,
            )
            sent[who] += len(data) + flags.get("fin", 0)

        segment("client", b"")
        for who, data in said:
            for start in range(0, len(data), 1400):
                segment(who, data[start : start + 1400], psh=1)
            segment(other[who], b"")
        segment("client", b"", fin=1)
        segment("server", b"", fin=1)
        segment("client", b"")

    def tls(
        self,
        said: Iterable[tuple[str, bytes]],
        client: tuple[str, int] = (A, 40000),
        server: tuple[str, int] = (B, 4433),
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ) -> None:
        """The same, but each says it inside TLS."""
        flights, log = tls_flights(list(said), version)
        self.key_log += log
        self.conversation(flights, client, server)

    def write(self, path: Path, *, secrets: bool = True) -> Path:
        """Write the scene as pcapng, with its key log inside or without."""
        with path.open("wb") as stream:
            writer = Writer(stream)
            writer.interface("veth0")
            if secrets:
                writer.secrets(self.key_log)
            for number, frame in enumerate(self.frames):
                writer.packet(frame, START + number * 100 * MICROSECOND)
        return path


def tls_flights(
    said: list[tuple[str, bytes]], version: ssl.TLSVersion
) -> tuple[list[tuple[str, bytes]], str]:
    """What client and server put on the wire to say `said`, and the key log."""
    contexts = {
        "client": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        "server": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
    }
    contexts["server"].maximum_version = contexts["server"].minimum_version = version
    authority().configure_trust(contexts["client"])
    authority().issue_cert("server.lab").configure_cert(contexts["server"])
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "keylog.txt")
        contexts["client"].keylog_filename = str(log)
        buffers = {who: ssl.MemoryBIO() for who in contexts}
        ends = {
            "client": contexts["client"].wrap_bio(
                buffers["client"], out := ssl.MemoryBIO(), server_hostname="server.lab"
            ),
            "server": contexts["server"].wrap_bio(
                buffers["server"], back := ssl.MemoryBIO(), server_side=True
            ),
        }
        outgoing = {"client": out, "server": back}
        other = {"client": "server", "server": "client"}
        flights: list[tuple[str, bytes]] = []

        def flush() -> None:
            for who in ("client", "server"):
                if data := outgoing[who].read():
                    flights.append((who, data))
                    buffers[other[who]].write(data)

        done = set()
        while len(done) < 2:
            for who, end in ends.items():
                try:
                    end.do_handshake()
                    done.add(who)
                except ssl.SSLWantReadError:
                    pass
                flush()
        for who, data in said:
            ends[who].write(data)
            flush()
            assert ends[other[who]].read(len(data)) == data
        return flights, log.read_text()


A_SQ_PSN, B_SQ_PSN = 0x6436E9, 0x1B2C3D
MTU = 1024
OTHER = {"a": "b", "b": "a"}


def message(kind: str, **values: object) -> bytes:
    """A message of our exchange as it stands inside TLS."""
    text = json.dumps({"rocelab": 1, "type": kind, **values}).encode()
    return len(text).to_bytes(4, "big") + text


@dataclass
class End:
    """One end of a connection: its addresses, its queue pair, and where its PSNs start."""

    ip: str
    qpn: int
    sq_psn: int

    @property
    def info(self) -> dict[str, object]:
        """Its EndpointInfo."""
        ip = ip_address(self.ip)
        gid = f"::ffff:{ip}" if ip.version == 4 else str(ip)
        return {
            "qpn": self.qpn,
            "sq_psn": self.sq_psn,
            "gid": gid,
            "path_mtu": MTU,
            "addr": 0x7F0000000000,
            "r_key": 0x1234,
            "length": 65536,
        }


@dataclass
class Connection:
    """Two ends that negotiate inside TLS and then talk RC, each packet answered as rxe does."""

    scene: Scene
    a: End = field(default_factory=lambda: End(A, 0x11, A_SQ_PSN))
    b: End = field(default_factory=lambda: End(B, 0x12, B_SQ_PSN))
    port: int = 40000
    server_port: int = 4433

    def __post_init__(self) -> None:
        self.next = {"a": self.a.sq_psn, "b": self.b.sq_psn}
        self.msn = {"a": 0, "b": 0}

    def end(self, side: str) -> End:
        """End `a` or `b`."""
        return self.a if side == "a" else self.b

    def negotiate(self) -> None:
        """Our exchange, inside TLS."""
        said = [
            ("client", message("hello", name="client", scenario="test", connection=0)),
            ("server", message("hello", name="server", scenario="test", connection=0)),
            ("client", message("endpoint", **self.a.info)),
            ("server", message("endpoint", **self.b.info)),
            ("client", message("ready")),
            ("server", message("ready")),
        ]
        self.scene.tls(said, client=(self.a.ip, self.port), server=(self.b.ip, self.server_port))

    def packet(
        self, side: str, opcode: Opcode, psn: int, *headers: Header, payload: bytes = b""
    ) -> int:
        """One packet from `side`; its frame number."""
        one, other = self.end(side), self.end(OTHER[side])
        ack_req = int(opcode.is_request and opcode.ends_message)
        bth = BTH(opcode=opcode, dest_qp=other.qpn, psn=psn & 0xFFFFFF, ack_req=ack_req)
        return self.scene.roce(one.ip, other.ip, bth, *headers, payload=payload)

    def acknowledge(self, side: str, psn: int) -> int:
        """An ACK from `side` for the request with `psn`."""
        aeth = AETH(syndrome=0x1F, msn=self.msn[side])
        return self.packet(side, Opcode.RC_ACKNOWLEDGE, psn, aeth)

    def send(self, side: str, size: int = 64) -> None:
        """A SEND of `size` bytes from `side`, and its ACK."""
        count = max(1, -(-size // MTU))
        names = ["ONLY"] if count == 1 else ["FIRST", *["MIDDLE"] * (count - 2), "LAST"]
        for number, name in enumerate(names):
            payload = bytes(min(MTU, size - number * MTU))
            opcode = Opcode[f"RC_SEND_{name}"]
            self.packet(side, opcode, self.next[side] + number, payload=payload)
        self.next[side] = (self.next[side] + count) & 0xFFFFFF
        self.msn[OTHER[side]] += 1
        self.acknowledge(OTHER[side], self.next[side] - 1)

    def read(self, side: str, size: int) -> None:
        """An RDMA READ of `size` bytes by `side`, answered in full."""
        count = max(1, -(-size // MTU))
        psn = self.next[side]
        reth = RETH(va=0x7F0000000000, r_key=0x1234, dma_len=size)
        self.packet(side, Opcode.RC_RDMA_READ_REQUEST, psn, reth)
        self.msn[OTHER[side]] += 1
        aeth = AETH(syndrome=0x1F, msn=self.msn[OTHER[side]])
        names = ["ONLY"] if count == 1 else ["FIRST", *["MIDDLE"] * (count - 2), "LAST"]
        for number, name in enumerate(names):
            headers = () if name == "MIDDLE" else (aeth,)
            opcode = Opcode[f"RC_RDMA_READ_RESPONSE_{name}"]
            payload = bytes(min(MTU, size - number * MTU))
            self.packet(OTHER[side], opcode, psn + number, *headers, payload=payload)
        self.next[side] = (psn + count) & 0xFFFFFF

    def talk(self) -> None:
        """SENDs and READs both ways."""
        for side in ("a", "b"):
            self.send(side, 100)
            self.send(side, 3000)
            self.read(side, 2500)
            self.send(side, 0)

    def truth(self, folder: Path, **changed: object) -> list[Path]:
        """What both ends log of the exchange; `changed` replaces values of A's own info."""
        info = {"a": {**self.a.info, "ip": self.a.ip}, "b": {**self.b.info, "ip": self.b.ip}}
        paths = []
        for side, role in (("a", "client"), ("b", "server")):
            event = {
                "time_ns": START,
                "event": "negotiated",
                "connection": 0,
                "role": role,
                "local": info[side] | (changed if side == "a" else {}),
                "remote": info[OTHER[side]],
            }
            paths.append(folder / f"truth-{role}.jsonl")
            paths[-1].write_text(json.dumps(event) + "\n")
        return paths


def mad(attribute: int, message: Header) -> bytes:
    """A CM datagram."""
    header = MAD(mgmt_class=CLASS_CM, class_version=2, method=3, attribute_id=attribute)
    return (header.pack() + message.pack()).ljust(256, b"\0")


def connect(
    scene: Scene, *, req_psn: int, rep_psn: int, comm_id: int = 1, again: bool = False
) -> None:
    """CM REQ from A and REP from B."""
    req = CM_REQ(local_comm_id=comm_id, local_qpn=0x11, starting_psn=req_psn, path_mtu=3)
    rep = CM_REP(
        local_comm_id=comm_id + 1000, remote_comm_id=comm_id, local_qpn=0x12, starting_psn=rep_psn
    )
    bth = BTH(opcode=Opcode.UD_SEND_ONLY, dest_qp=1)
    deth = DETH(q_key=0x80010000, src_qp=1)
    for _ in range(2 if again else 1):
        scene.roce(A, B, bth, deth, payload=mad(0x10, req))
    for _ in range(2 if again else 1):
        scene.roce(B, A, bth, deth, payload=mad(0x13, rep))


def secure_flow() -> Scene:
    """One connection, negotiated inside TLS, data both ways."""
    scene = Scene()
    connection = Connection(scene)
    connection.negotiate()
    connection.talk()
    return scene
