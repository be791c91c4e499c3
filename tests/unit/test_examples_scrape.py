import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from decimal import Decimal

import httpx
import pytest

from examples.calls import log_ids
from examples.observations import Availability
from examples.scraper_service import scrape as scraping
from examples.scraper_service.__main__ import listing_urls
from examples.scraper_service.extract import Product
from examples.scraper_service.scrape import (
    Competitor,
    Fetcher,
    FetchError,
    Link,
    Scraped,
    Wanted,
    choose,
    product_links,
    scrape,
)
from examples.scraper_service.service import check, observed
from examples.scraper_service.shop import CATALOGUE, answer, listing
from examples.settings import SettingsError
from shared.proto.scraper_service_pb2 import ScrapeCompetitorPricesRequest

LISTING = "https://shop.example/all/"


def test_the_example_listing_links_every_product_and_marks_the_top_ones() -> None:
    links = product_links(listing("amazon"), LISTING)
    assert [link.product_id for link in links] == [item.gtin for item in CATALOGUE]
    assert [link.top for link in links] == [item.top for item in CATALOGUE]
    assert links[0].url == f"https://shop.example/all/product/{CATALOGUE[0].gtin}"


def test_links_elsewhere_twice_or_without_an_id_are_left_out() -> None:
    html = """<a class="big product" href="/p/1" data-product-id="1">a</a>
      <a class="product" href="/p/1" data-product-id="1" data-top>again</a>
      <a class="product" href="http://169.254.169.254/p/2" data-product-id="2">b</a>
      <a class="product" href="file:///etc/passwd" data-product-id="3">c</a>
      <a class="product" href="http://[broken" data-product-id="4">d</a>
      <a class="product" href="/p/5">e</a><a href="/p/6" data-product-id="6">f</a>"""
    assert product_links(html, LISTING) == [Link("1", "https://shop.example/p/1", top=False)]


@pytest.mark.parametrize("html", ["", "\x00\x01", "<a class='product", '{"not": "html"}'])
def test_a_listing_that_is_garbage_links_nothing(html: str) -> None:
    assert product_links(html, LISTING) == []


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (Wanted(), "abc"),
        (Wanted(top_only=True), "bc"),
        (Wanted(product_ids=frozenset("ac")), "ac"),
        (Wanted(top_only=True, product_ids=frozenset("ac")), "c"),
        (Wanted(max_products=2), "ab"),
        (Wanted(top_only=True, max_products=1), "b"),
        (Wanted(max_products=9), "abc"),
    ],
)
def test_what_is_wanted_is_chosen_in_the_listings_order(wanted: Wanted, chosen: str) -> None:
    links = [Link("a", "/a", top=False), Link("b", "/b", top=True), Link("c", "/c", top=True)]
    assert "".join(link.product_id for link in choose(links, wanted)) == chosen


def test_a_request_is_told_everything_that_is_wrong_with_it() -> None:
    request = ScrapeCompetitorPricesRequest(competitor_ids=["ebay", "amazon", "otto"], max_products=-2)
    assert check(request, ["target", "amazon"]) == [
        "competitor_ids: 'ebay', 'otto' not known; known are amazon, target",
        "max_products: -2 is below 0; 0 means no limit",
    ]


def test_of_two_pages_of_one_product_the_cheaper_is_observed() -> None:
    def page(price: str) -> Product:
        return Product("p", "P", Decimal(price), "USD", Availability.IN_STOCK)

    result = Scraped("amazon", products={"/1": page("12"), "/2": page("11"), "/3": page("13")})
    (one,) = observed([result], datetime(2026, 1, 1, tzinfo=UTC))
    assert (one.price, one.url) == (Decimal(11), "/2")


def test_a_competitors_address_in_the_environment_replaces_or_adds() -> None:
    environment = {
        "SCRAPER_COMPETITOR_AMAZON_URL": "https://amazon.example/",
        "SCRAPER_COMPETITOR_BEST_BUY_URL": "https://bestbuy.example/",
        "SCRAPER_COMPETITOR_TARGET_URL": "",
        "SCRAPER_PORT": "1",
    }
    assert listing_urls(environment, {"amazon": "http://a/", "target": "http://t/"}) == {
        "amazon": "https://amazon.example/",
        "best_buy": "https://bestbuy.example/",
        "target": "http://t/",
    }


def test_a_competitors_address_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match=r"^SCRAPER_COMPETITOR_X_URL: expected"):
        listing_urls({"SCRAPER_COMPETITOR_X_URL": "amazon.example"}, {})


def test_the_schedulers_metadata_becomes_ids_on_log_lines() -> None:
    metadata: list[tuple[str, str | bytes]] = [
        ("x-execution-id", "e1"),
        ("x-job-id", "j1"),
        ("x-attempt", "2"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("other-bin", b"\x00"),
    ]
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    assert log_ids(metadata) == {"execution_id": "e1", "job_id": "j1", "attempt": "2", "trace_id": trace_id}
    assert log_ids([("traceparent", "nonsense")]) == {}


DAY = datetime(2026, 3, 1, tzinfo=UTC).date()


def amazon(
    reply: Callable[[httpx.Request], Coroutine[None, None, httpx.Response]], timeout: float = 5, concurrency: int = 4
) -> Competitor:
    client = httpx.AsyncClient(transport=httpx.MockTransport(reply))
    return Competitor("amazon", "http://shop.example/amazon/", Fetcher(client, timeout, concurrency))


def shop_page(request: httpx.Request) -> httpx.Response:
    html = answer(request.url.path, DAY)
    return httpx.Response(200, html=html) if html else httpx.Response(404)


def is_product(request: httpx.Request, *numbers: int) -> bool:
    return any(request.url.path.endswith(CATALOGUE[number].gtin) for number in numbers)


async def test_no_more_pages_are_fetched_at_once_than_is_set() -> None:
    now = most = 0

    async def reply(request: httpx.Request) -> httpx.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return shop_page(request)

    result = await scrape(amazon(reply, concurrency=3), Wanted(), 5)
    assert (len(result.products), most) == (8, 3)


async def test_pages_that_the_competitors_time_cuts_off_are_named_and_the_others_kept() -> None:
    async def reply(request: httpx.Request) -> httpx.Response:
        if is_product(request, 0):
            await asyncio.Event().wait()
        return shop_page(request)

    result = await scrape(amazon(reply), Wanted(), 0.5)
    assert len(result.products) == 7
    assert list(result.failures.values()) == ["not read within 0.5 s, the competitor's share of the time"]
    assert result.error == ""


async def test_a_page_that_takes_too_long_or_breaks_off_fails_alone() -> None:
    async def reply(request: httpx.Request) -> httpx.Response:
        if is_product(request, 0):
            await asyncio.Event().wait()
        if is_product(request, 1):
            raise httpx.ReadError("connection reset")
        return shop_page(request)

    result = await scrape(amazon(reply, timeout=0.2), Wanted(), 5)
    assert len(result.products) == 6
    assert set(result.failures.values()) == {"no full answer within 0.2 s", "connection reset"}


async def test_a_competitor_of_which_no_page_can_be_read_has_failed() -> None:
    async def reply(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503) if "product" in request.url.path else shop_page(request)

    result = await scrape(amazon(reply), Wanted(), 5)
    assert result.error.startswith("none of its 8 pages could be read; the first, http://shop.example/amazon/product/")
    assert len(result.failures) == 8


async def test_a_competitor_that_lists_none_of_the_wanted_products_has_not_failed() -> None:
    async def reply(request: httpx.Request) -> httpx.Response:
        return shop_page(request)

    result = await scrape(amazon(reply), Wanted(product_ids=frozenset({"unknown"})), 5)
    assert (result.error, result.products, result.failures) == ("", {}, {})


async def test_an_endless_page_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scraping, "MAX_PAGE_BYTES", 1000)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100

    async def reply(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=endless())

    with pytest.raises(FetchError, match="longer than 1000 bytes"):
        await amazon(reply).fetcher.get("http://shop.example/")


async def test_a_page_in_another_encoding_is_read_and_an_unknown_one_is_taken_as_utf8() -> None:
    async def reply(request: httpx.Request) -> httpx.Response:
        charset = request.url.path.strip("/")
        encoding = "latin-1" if charset == "latin-1" else "utf-8"
        headers = {"content-type": f"text/html; charset={charset}"}
        return httpx.Response(200, content="Kühlschrank".encode(encoding), headers=headers)

    fetcher = amazon(reply).fetcher
    assert await fetcher.get("http://shop.example/latin-1") == "Kühlschrank"
    assert await fetcher.get("http://shop.example/no-such-charset") == "Kühlschrank"
