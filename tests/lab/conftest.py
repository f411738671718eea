"""Certificates for the tests of the lab."""

from __future__ import annotations

import pytest

from lab.exchange.tls import Identity
from tests.lab.authority import SERVER_NAME, Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "lab")


@pytest.fixture(scope="session")
def server_identity(authority: Authority) -> Identity:
    return authority.issue(SERVER_NAME)


@pytest.fixture(scope="session")
def client_identity(authority: Authority) -> Identity:
    return authority.issue("client.rocelab.test")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Identity:
    """A certificate of another authority, held by someone who trusts the lab's."""
    other = Authority(tmp_path_factory.mktemp("other"), "other")
    return other.issue("client.rocelab.test", trusting=authority)
