"""A certificate authority for tests, real PEM files."""

from __future__ import annotations

from pathlib import Path

import trustme

from lab.exchange.tls import Identity

SERVER_NAME = "server.rocelab.test"


class Authority:
    """Issues certificates into a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.ca = trustme.CA(organization_name=name)
        self.path = folder / f"{name}-ca.pem"
        self.ca.cert_pem.write_to_path(self.path)

    def issue(self, host: str, *, trusting: Authority | None = None) -> Identity:
        certificate = self.ca.issue_cert(host)
        chain, key = (self.folder / f"{self.name}-{host}.{kind}" for kind in ("pem", "key"))
        for index, blob in enumerate(certificate.cert_chain_pems):
            blob.write_to_path(chain, append=index > 0)
        certificate.private_key_pem.write_to_path(key)
        return Identity(str((trusting or self).path), str(chain), str(key))
