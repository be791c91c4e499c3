"""What most tests of the server and its clients begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_server_harness import Running, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pymongo.database import Database


@pytest.fixture
async def server(database: Database[dict[str, Any]], database_url: str) -> AsyncIterator[Running]:  # noqa: ARG001
    """A server with nothing special about it, over an empty store."""
    async with serving(database_url) as running:
        yield running
