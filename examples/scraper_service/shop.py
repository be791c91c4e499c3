"""A little shop site to scrape when no real one is configured: three shops, each with its own habits of markup.

Every shop lists its products at `/<shop>/`, as links of the class `product` that carry `data-product-id` and, for top
products, `data-top`. A product's price on a day follows from shop, product and date alone, so a run can be repeated.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from typing_extensions import override

SHOPS = ("amazon", "walmart", "target")
CURRENCY = "USD"


@dataclass(frozen=True)
class Item:
    """A product that all shops sell, around `cents`."""

    gtin: str
    name: str
    cents: int
    top: bool = False


# GTINs from 200 on are for use inside of a company: they belong to no real product.
CATALOGUE = (
    Item("2000000000015", "Espresso Machine", 129900, top=True),
    Item("2000000000022", "Noise Cancelling Headphones", 27900, top=True),
    Item("2000000000039", "Mechanical Keyboard", 11950, top=True),
    Item("2000000000046", "4K Monitor 27 inch", 34900),
    Item("2000000000053", "Robot Vacuum", 44900),
    Item("2000000000060", "Electric Kettle", 4995),
    Item("2000000000077", "Standing Desk", 52900),
    Item("2000000000084", "Air Fryer", 8990),
)


def _draw(below: int, *seed: object) -> int:
    """Return a number from 0 on that is always the same for the same seed."""
    digest = hashlib.sha256("|".join(map(str, seed)).encode()).digest()
    return int.from_bytes(digest[:8], "big") % below


def price_cents(shop: str, item: Item, day: date) -> int:
    """Return the price: the shop's own level, a new one each month, up to 2 % a day, and now and then a sale."""
    level = 1000 + _draw(81, shop, item.gtin, day.year, day.month) - 40
    wobble = 1000 + _draw(41, shop, item.gtin, day) - 20
    sale = 700 if _draw(25, "sale", shop, item.gtin, day) == 0 else 1000
    return item.cents * level * wobble * sale // 1000**3


def in_stock(shop: str, item: Item, day: date) -> bool:
    """Tell whether it can be bought that day: eleven times of twelve."""
    return _draw(12, "stock", shop, item.gtin, day) != 0


def page(shop: str, item: Item, day: date) -> str:
    """Return the product's page, in the markup that this shop has."""
    price = f"{price_cents(shop, item, day) / 100:.2f}"
    available = in_stock(shop, item, day)
    if shop == "amazon":
        return _json_ld_page(item, price, available=available)
    if shop == "walmart":
        return _microdata_page(item, price, available=available)
    return _opengraph_page(item, price, available=available)


def _json_ld_page(item: Item, price: str, *, available: bool) -> str:
    """JSON-LD in the three ways that are met: a list of offers in a @graph, an AggregateOffer, a plain Offer."""
    availability = f"https://schema.org/{'InStock' if available else 'OutOfStock'}"
    offer = {"@type": "Offer", "price": price, "priceCurrency": CURRENCY, "availability": availability}
    product: dict[str, object] = {"@type": "Product", "name": item.name, "gtin13": item.gtin}
    context = "https://schema.org"
    shape = CATALOGUE.index(item) % 3
    if shape == 0:
        used = {**offer, "price": f"{float(price) * 1.2:.2f}"}
        product["offers"] = [used, offer]
        data: dict[str, object] = {"@context": context, "@graph": [{"@type": "WebPage", "name": item.name}, product]}
    elif shape == 1:
        product["offers"] = {
            "@type": "AggregateOffer",
            "lowPrice": price,
            "highPrice": f"{float(price) * 1.3:.2f}",
            "priceCurrency": CURRENCY,
            "availability": availability,
            "offerCount": 3,
        }
        data = {"@context": context, **product}
    else:
        data = {"@context": context, **product, "offers": offer}
    return _html(item.name, f'<script type="application/ld+json">{json.dumps(data)}</script>', f"<h1>{item.name}</h1>")


def _microdata_page(item: Item, price: str, *, available: bool) -> str:
    """Microdata, with the number as Europeans write it: 1.299,00."""
    european = f"{float(price):,.2f}".translate(str.maketrans(",.", ".,"))
    return _html(
        item.name,
        "",
        f"""<div itemscope itemtype="https://schema.org/Product">
  <h1 itemprop="name">{item.name}</h1>
  <meta itemprop="gtin13" content="{item.gtin}">
  <div itemprop="offers" itemscope itemtype="https://schema.org/Offer">
    <span itemprop="price">{european}</span> <span itemprop="priceCurrency">{CURRENCY}</span>
    <link itemprop="availability" href="https://schema.org/{"InStock" if available else "OutOfStock"}">
  </div>
</div>""",
    )


def _opengraph_page(item: Item, price: str, *, available: bool) -> str:
    """OpenGraph's product tags, in the head."""
    tags = {
        "og:type": "product",
        "og:title": item.name,
        "product:ean": item.gtin,
        "product:price:amount": price,
        "product:price:currency": CURRENCY,
        "product:availability": "in stock" if available else "oos",
    }
    head = "\n".join(f'<meta property="{name}" content="{content}">' for name, content in tags.items())
    return _html(item.name, head, f"<h1>{item.name}</h1>")


def listing(shop: str) -> str:
    """Return the page that links all products of a shop."""
    links = "\n".join(
        f'<li><a class="product" href="product/{item.gtin}" data-product-id="{item.gtin}"'
        f"{' data-top' if item.top else ''}>{item.name}</a></li>"
        for item in CATALOGUE
    )
    return _html(shop, "", f"<ul>\n{links}\n</ul>")


def _html(title: str, head: str, body: str) -> str:
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n{head}</head>\n'
        f"<body>{body}</body></html>\n"
    )


def answer(path: str, day: date) -> str | None:
    """Return the page at a path, or None when there is none."""
    match path.strip("/").split("/"):
        case [shop] if shop in SHOPS:
            return listing(shop)
        case [shop, "product", gtin] if shop in SHOPS:
            return next((page(shop, item, day) for item in CATALOGUE if item.gtin == gtin), None)
    return None


def _today() -> date:
    return datetime.now(UTC).date()


class _ShopServer(ThreadingHTTPServer):
    # The default of 5 makes a burst of connections wait a second for TCP's second try.
    request_queue_size = 128


@contextmanager
def serve_shops(today: Callable[[], date] = _today) -> Iterator[dict[str, str]]:
    """Serve the shops on a free port of the loopback device while inside; gives each shop's listing URL."""

    class ShopHandler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: two would wait 40 ms for each other (Nagle, delayed ACK)

        def do_GET(self) -> None:
            html = answer(self.path, today())
            body = (html or "no such page").encode()
            self.send_response(HTTPStatus.OK if html else HTTPStatus.NOT_FOUND)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Stay silent: the scraper logs what it fetches."""

    with _ShopServer(("127.0.0.1", 0), ShopHandler) as server:
        thread = threading.Thread(target=server.serve_forever, name="shop", daemon=True)
        thread.start()
        try:
            yield {shop: f"http://127.0.0.1:{server.server_port}/{shop}/" for shop in SHOPS}
        finally:
            server.shutdown()
            thread.join()
