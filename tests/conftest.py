"""Private servers for the whole test run: real MongoDB, RabbitMQ and Redis on ports and in folders of their own.

On several cores, each process of pytest-xdist has servers of its own. What shares expensive fixtures stays together:
the tests of a file, and those in tests/acceptance, which share a running system; but the platforms of examples/ there
have each their own.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import hypothesis
import pytest
import structlog
from xdist.scheduler import LoadFileScheduling

import dev.server
from dev.servers import Servers, private_servers
from shared.store.layout import lay_out
from shared.store.mongo import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

ACCEPTANCE = "tests/acceptance/"
EXAMPLES = "tests/acceptance/test_example_"
LONGEST = ("tests/chaos/", ACCEPTANCE, "tests/outages/")
"""Begun first, so that at the end no process works alone for long."""


class _BySystem(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return ACCEPTANCE if file.startswith(ACCEPTANCE) and not file.startswith(EXAMPLES) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    return _BySystem(config, log)


def pytest_configure() -> None:
    """Set up this process, one of pytest-xdist's or the only one."""
    # On a busy machine any example may take long.
    hypothesis.settings.register_profile("untimed", deadline=None)
    hypothesis.settings.load_profile("untimed")
    # Shells start what runs in the background with Ctrl-C ignored, and that is inherited: by what the tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Each has its share of the ports, so that two never look at the same free one.
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    shares = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    dev.server.FREE_PORTS = dev.server.FREE_PORTS[number % shares :: shares]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest first; the rest keeps its order."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


@pytest.fixture(autouse=True)
def _own_log_configuration() -> Iterator[None]:
    """Undo what a test, or the code that it ran, has set up for logs: the next one may want to read others."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """All three servers; what cannot be started fails the tests that need it, and says why."""
    with private_servers(tmp_path_factory.mktemp("servers")) as running:
        yield running


@pytest.fixture(scope="session")
def mongodb_url(servers: Servers) -> str:
    return servers.mongodb.url


@pytest.fixture
def database_url(servers: Servers) -> Iterator[str]:
    """The URL of a database that only this test uses."""
    name = f"test_{uuid4().hex[:12]}"
    base, _, query = servers.mongodb.url.partition("?")
    url = f"{base.rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")
    yield url
    client = connect(url).client
    client.drop_database(name)
    client.close()


@pytest.fixture
def database(database_url: str) -> Iterator[Database[dict[str, Any]]]:
    """An empty database with our collections and indexes."""
    found = connect(database_url)
    lay_out(found)
    yield found
    found.client.close()
