"""Starts scraper-service: `python -m examples.scraper_service`."""

import os
import re
from collections.abc import Mapping

import httpx
from pydantic import Field

from examples import server
from examples.observations import Observations
from examples.scraper_service.scrape import Competitor, Fetcher
from examples.scraper_service.service import ScraperService
from examples.scraper_service.shop import serve_shops
from examples.settings import DATABASE, Settings, SettingsError, connect, read
from shared.log import configure
from shared.proto import scraper_service_pb2
from shared.proto.scraper_service_pb2_grpc import add_ScraperServiceServicer_to_server

FULL_NAME = scraper_service_pb2.DESCRIPTOR.services_by_name["ScraperService"].full_name
_COMPETITOR = re.compile(r"SCRAPER_COMPETITOR_([A-Z0-9_]+)_URL")


class ScraperSettings(Settings):
    """Settings of scraper-service; besides, SCRAPER_COMPETITOR_<ID>_URL replaces or adds a competitor."""

    scraper_port: int = Field(default=50053, ge=0, le=65535)
    scraper_page_timeout_seconds: float = Field(default=10, gt=0)
    scraper_competitor_timeout_seconds: float = Field(default=60, gt=0)
    # Pages at once of one competitor, over all calls: more is faster, until the shop starts to refuse.
    scraper_concurrency: int = Field(default=8, ge=1)


def listing_urls(environment: Mapping[str, str], defaults: Mapping[str, str]) -> dict[str, str]:
    """Return the listing's address by competitor id: the defaults, replaced or added to by SCRAPER_COMPETITOR_<ID>_URL.

    Raises SettingsError for a value that is no http address.
    """
    urls = dict(defaults)
    for name, value in environment.items():
        match = _COMPETITOR.fullmatch(name)
        if match and value:
            if not value.startswith(("http://", "https://")):
                raise SettingsError(f"{name}: expected the http(s) address of the page that links the products")
            urls[match[1].lower()] = value
    return urls


def _http(timeout: float) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        follow_redirects=True,
        timeout=timeout,
        # The fetchers limit connections; a limit here, shared by all, would let a slow shop block the others.
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        # Our own shops are reached directly, also where a proxy is set for the web.
        mounts={"all://127.0.0.1": None},
    )


async def main() -> None:
    """Build everything, and serve until told to stop."""
    settings = read(ScraperSettings)
    configure("scraper-service", settings.log_level, settings.log_format)
    with serve_shops() as shops:
        async with connect(settings) as mongo, _http(settings.scraper_page_timeout_seconds) as http:
            observations = Observations(mongo, DATABASE)
            service = ScraperService(
                competitors={
                    one: Competitor(
                        one, url, Fetcher(http, settings.scraper_page_timeout_seconds, settings.scraper_concurrency)
                    )
                    for one, url in listing_urls(os.environ, shops).items()
                },
                observations=observations,
                competitor_timeout=settings.scraper_competitor_timeout_seconds,
            )
            await server.serve(
                FULL_NAME,
                host=settings.bind_host,
                port=settings.scraper_port,
                port_setting="SCRAPER_PORT",
                add=lambda grpc_server: add_ScraperServiceServicer_to_server(service, grpc_server),
                check=observations.ensure_indexes,
            )


if __name__ == "__main__":
    server.run(main())
