"""What people type: the examples at the foot of each command's --help, as data.

A test parses each, so an option that is renamed cannot leave its example behind.
"""

from __future__ import annotations

TERMINAL = 80  # columns; where a line and what it does need more, they take a line each

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "run": (
        ("rocelab run", "the secure flow: verdict, capture and report"),
        ("rocelab run --clients 50 --json", "many clients; one document for a script"),
        ("rocelab run bulk --set size=10000000", "another scenario, one of its numbers changed"),
        ("rocelab run --family 6 --mtu 1024", "over IPv6, with a smaller path MTU"),
        ("rocelab run --backend vm", "the kernel's Soft-RoCE, in two virtual machines"),
        ("rocelab run --backend interop --kernel-end client", "the kernel talks with our engine"),
        ("rocelab run --faults plan.toml --compare userspace,vm", "who recovers how, side by side"),
        ("rocelab run rping --backend vm", "an existing program, its connection judged"),
    ),
    "bench": (
        ("rocelab bench", "everything, beside plain sockets; some minutes"),
        ("rocelab bench --only send-rounds udp-rounds", "round trips alone"),
        ("rocelab bench --seconds 5 --markdown", "the table of the README"),
    ),
    "scenarios": (
        ("rocelab scenarios", "all of them, a line each"),
        ("rocelab scenarios error-rnr", "what one teaches and what to look at"),
    ),
    "verify": (
        ("rocelab verify runs/20261121-053550-secure-flow", "a run, by all it left"),
        ("rocelab verify trace.pcapng --keylog keys.txt", "an exchange inside TLS"),
        ("rocelab verify trace.pcap --log server.txt --log client.txt", "pingpong or perftest"),
        ("rocelab verify trace.pcap --expect 10.0.0.1:0x11=0xc0ffee", "PSNs known beforehand"),
        ("rocelab verify a.pcap b.pcap --annotate judged.pcapng", "both ends; for Wireshark"),
    ),
    "analyze": (
        ("rocelab analyze trace.pcapng", "every pass, and what it found"),
        ("rocelab analyze trace.pcapng --report report.html", "and the page for people"),
    ),
    "report": (("rocelab report trace.pcapng -o report.html", "one file, needs no network"),),
    "figures": (("rocelab figures trace.pcapng --formats svg -o figures", "for a paper"),),
    "decode": (
        ("rocelab decode trace.pcap | head", "a line a packet"),
        ("rocelab decode trace.pcap -V -c 3", "every field of the first three"),
        ("rocelab decode trace.pcap --filter 'aeth and aeth.syndrome >= 0x60'", "only the NAKs"),
        (
            "rocelab decode trace.pcap --filter cm.req --fields frame,cm.req.starting_psn",
            "announced by CM",
        ),
        ("rocelab decode trace.pcap --fields frame,bth.opcode,bth.psn", "a table with tabs"),
        ("rocelab decode trace.pcap --filter 'bth.dest_qp == 0x11' -w one.pcapng", "one QP's"),
        ("rocelab decode trace.pcap --stats", "what the whole file holds"),
        ("tcpdump -i eth0 -w - udp port 4791 | rocelab decode -", "live"),
    ),
    "psn": (
        ("rocelab psn monday.pcap tuesday.pcap", "every connection of both"),
        ("rocelab psn --values psns.txt", "PSNs from anywhere, one a line"),
    ),
    "compare": (
        ("rocelab compare runs/one runs/other", "their recoveries from the same faults"),
        ("rocelab compare runs/one runs/other --json", "every NAK and resend, for a script"),
    ),
    "passes": (
        ("rocelab passes", "all judgements, a line each"),
        ("rocelab passes psn-negotiated", "one's manual page"),
    ),
    "tutorial": (("rocelab tutorial -o rdma.html", "one file, drawn from the program's tables"),),
    "doctor": (
        ("rocelab doctor", "what works here, and how to mend the rest"),
        ("rocelab doctor no-packets", "why does tcpdump see nothing?"),
    ),
}


def epilogue(command: str) -> str:
    """Return the examples as the text under a command's --help, one a line."""
    shown = EXAMPLES[command]
    width = max(len(line) for line, _ in shown)
    if any(len(f"  {line:<{width}}   {why}") > TERMINAL for line, why in shown):
        lines = [text for line, why in shown for text in (f"  # {why}", f"  {line}")]
    else:
        lines = [f"  {line:<{width}}   {why}" for line, why in shown]
    return "\n".join(("Examples:", *lines))
