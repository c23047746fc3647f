import pytest

from postern import roles, service
from postern.testing import Host


@pytest.fixture
def host():
    with Host() as host:
        yield host


@pytest.fixture(autouse=True)
def fresh_registry(monkeypatch):
    """Each test marks what it needs."""
    monkeypatch.setattr(service, "_registered", [])
    monkeypatch.setattr(roles.registered, "__dict__", {})
    roles.registered.__init__()
