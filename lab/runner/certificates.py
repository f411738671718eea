"""A certificate authority for one run, with a certificate for each end. Keys stay in memory."""

from __future__ import annotations

from dataclasses import dataclass

import trustme

SERVER_NAME = "server.rocelab.test"  # .test resolves nowhere (RFC 6761)
CLIENT_NAME = "client.rocelab.test"
NAMES = {"server": SERVER_NAME, "client": CLIENT_NAME}


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM: the authority both ends trust, this end's chain and its private key."""

    ca: bytes
    chain: bytes
    key: bytes


def issue() -> dict[str, Certificate]:
    """A new authority and its certificates for "server" and "client"."""
    authority = trustme.CA(organization_name="rocelab")
    issued = {role: authority.issue_cert(name) for role, name in NAMES.items()}
    return {
        role: Certificate(
            ca=authority.cert_pem.bytes(),
            chain=b"".join(pem.bytes() for pem in certificate.cert_chain_pems),
            key=certificate.private_key_pem.bytes(),
        )
        for role, certificate in issued.items()
    }
