"""Fetches a competitor's listing and product pages. What fails is part of what is returned, not raised."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import httpx
from typing_extensions import override

from examples.scraper_service.extract import NoProductError, Product, extract
from shared.log import get_logger

log = get_logger()

MAX_PAGE_BYTES = 5_000_000
"""A page that is longer is not read to its end: it is no product page, and would fill the memory."""


class FetchError(Exception):
    """A page could not be had; the message says why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of the listed products to read; no product_ids means all, 0 means no limit."""

    top_only: bool = False
    product_ids: frozenset[str] = frozenset()
    max_products: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """A product in a listing."""

    product_id: str
    url: str
    top: bool


@dataclass(slots=True)
class Scraped:
    """What came of a competitor: products by URL, reasons by URL, or an error when nothing could be read."""

    competitor_id: str
    listed_ids: frozenset[str] = frozenset()
    products: dict[str, Product] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    error: str = ""
    seconds: float = 0.0


class Fetcher:
    """Gets the pages of one competitor, at most `concurrency` at a time, each within `timeout` seconds.

    One for each competitor, because a slow one would else take the turns of the others.
    """

    def __init__(self, client: httpx.AsyncClient, timeout: float, concurrency: int) -> None:
        self._client = client
        self._timeout = timeout
        self._slots = asyncio.Semaphore(concurrency)

    async def get(self, url: str) -> str:
        """Return the page's text, or raise FetchError."""
        async with self._slots:
            try:
                # httpx limits each read; only this limits a server that sends a byte a second.
                async with asyncio.timeout(self._timeout):
                    return await self._get(url)
            except TimeoutError:
                raise FetchError(f"no full answer within {self._timeout:g} s") from None
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise FetchError(str(error) or type(error).__name__) from error

    async def _get(self, url: str) -> str:
        async with self._client.stream("GET", url) as response:
            if not response.is_success:
                raise FetchError(f"HTTP {response.status_code} {response.reason_phrase}")
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_PAGE_BYTES:
                    raise FetchError(f"longer than {MAX_PAGE_BYTES} bytes")
            return body.decode(response.encoding or "utf-8", errors="replace")


@dataclass(frozen=True, slots=True)
class Competitor:
    """A shop: the page that links its products, and what gets its pages."""

    competitor_id: str
    listing_url: str
    fetcher: Fetcher


async def scrape(competitor: Competitor, wanted: Wanted, budget: float) -> Scraped:
    """Read what is wanted of a competitor within `budget` seconds. Raises nothing but CancelledError."""
    started = time.monotonic()
    result = Scraped(competitor.competitor_id)
    try:
        async with asyncio.timeout(budget):
            await _scrape_into(result, competitor, wanted)
    except TimeoutError:
        if not result.listed_ids:
            result.error = f"no listing within {budget:g} s"
        for url, reason in result.failures.items():
            result.failures[url] = reason or f"not read within {budget:g} s, the competitor's share of the time"
    except FetchError as error:
        result.error = f"{competitor.listing_url}: {error}"
    if not result.products and result.failures and not result.error:
        url, reason = next(iter(result.failures.items()))
        result.error = f"none of its {len(result.failures)} pages could be read; the first, {url}: {reason}"
    result.seconds = time.monotonic() - started
    log.info(
        "Competitor read",
        action="competitor_scraped",
        competitor_id=competitor.competitor_id,
        products=len(result.products),
        failures=len(result.failures),
        error=result.error or None,
        seconds=round(result.seconds, 3),
    )
    return result


async def _scrape_into(result: Scraped, competitor: Competitor, wanted: Wanted) -> None:
    links = product_links(await competitor.fetcher.get(competitor.listing_url), competitor.listing_url)
    if not links:
        raise FetchError("links no products")
    result.listed_ids = frozenset(link.product_id for link in links)
    chosen = choose(links, wanted)
    # All are failures until they are read, so that what a timeout cuts off is named too.
    result.failures = dict.fromkeys((link.url for link in chosen), "")

    async def read(link: Link) -> None:
        try:
            html = await competitor.fetcher.get(link.url)
            # Parsing is a matter of milliseconds a page: in a thread, so that other calls are answered meanwhile.
            result.products[link.url] = await asyncio.to_thread(extract, html, link.url)
            del result.failures[link.url]
        except (FetchError, NoProductError) as error:
            result.failures[link.url] = str(error)

    async with asyncio.TaskGroup() as group:
        for link in chosen:
            group.create_task(read(link))


def choose(links: Iterable[Link], wanted: Wanted) -> list[Link]:
    """Return the links that are wanted, in the listing's order."""
    chosen = [
        link
        for link in links
        if (link.top or not wanted.top_only) and (not wanted.product_ids or link.product_id in wanted.product_ids)
    ]
    return chosen[: wanted.max_products or None]


def product_links(html: str, listing_url: str) -> list[Link]:
    """Return the links of class `product` with their `data-product-id`, each page once.

    This is the part to replace for a shop that lists its products otherwise. Links to other sites are left out:
    a listing must not make us call somebody else, or our own network.
    """
    parser = _LinkParser()
    parser.feed(html)
    parser.close()
    site = urlsplit(listing_url)[:2]
    links: dict[str, Link] = {}
    for attributes in parser.found:
        try:
            url = urljoin(listing_url, attributes.get("href") or "")
            same_site = urlsplit(url)[:2] == site
        except ValueError:  # a malformed address
            continue
        product_id = attributes.get("data-product-id") or ""
        if same_site and product_id:
            links.setdefault(url, Link(product_id, url, top="data-top" in attributes))
    return list(links.values())


class _LinkParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "a" and "product" in (attributes.get("class") or "").split():
            self.found.append(attributes)
