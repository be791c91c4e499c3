import json
from datetime import date
from decimal import Decimal

import pytest

from examples.observations import Availability
from examples.scraper_service import shop
from examples.scraper_service.extract import NoProductError, extract

URL = "http://shop.example/p/1"


def json_ld(data: object) -> str:
    return f'<html><head><script type="application/ld+json">{json.dumps(data)}</script></head><body>x</body></html>'


def product(**fields: object) -> dict[str, object]:
    offer = {"@type": "Offer", "price": "10.00", "priceCurrency": "USD"}
    return {
        "@context": "https://schema.org",
        "@type": "Product",
        "name": "Kettle",
        "sku": "K1",
        "offers": offer,
        **fields,
    }


def test_a_plain_offer_gives_name_price_currency_and_availability() -> None:
    offer = {"price": "49.95", "priceCurrency": "USD", "availability": "https://schema.org/InStock"}
    found = extract(json_ld(product(gtin13="2000000000060", offers=offer)), URL)
    assert (found.product_id, found.name) == ("2000000000060", "Kettle")
    assert (found.price, found.currency, found.availability) == (Decimal("49.95"), "USD", Availability.IN_STOCK)


def test_a_product_in_a_graph_is_found() -> None:
    graph = {"@context": "https://schema.org", "@graph": [{"@type": "WebPage"}, product()]}
    assert extract(json_ld(graph), URL).price == Decimal("10.00")


def test_a_product_with_several_types_and_a_full_type_address_is_found() -> None:
    assert extract(json_ld(product(**{"@type": ["Thing", "http://schema.org/Product"]})), URL).name == "Kettle"


def test_of_several_offers_the_cheapest_that_can_be_bought_counts() -> None:
    offers = [
        {"price": "9.00", "priceCurrency": "USD", "availability": "OutOfStock"},
        {"price": "12.00", "priceCurrency": "USD", "availability": "InStock"},
        {"price": "11.00", "priceCurrency": "USD", "availability": "InStock"},
        {"priceCurrency": "USD"},
    ]
    assert extract(json_ld(product(offers=offers)), URL).price == Decimal("11.00")


def test_an_aggregate_offer_counts_with_its_low_price() -> None:
    offer = {"@type": "AggregateOffer", "lowPrice": 8.5, "highPrice": 12, "priceCurrency": "EUR"}
    found = extract(json_ld(product(offers=offer)), URL)
    assert (found.price, found.currency) == (Decimal("8.5"), "EUR")


def test_a_price_in_a_price_specification_is_found() -> None:
    offer = {"@type": "Offer", "priceSpecification": [{"price": 7, "priceCurrency": "GBP"}]}
    found = extract(json_ld(product(offers=offer)), URL)
    assert (found.price, found.currency) == (Decimal(7), "GBP")


def microdata(price: str, currency: str = '<meta itemprop="priceCurrency" content="EUR">') -> str:
    return f"""<html><body><div itemscope itemtype="https://schema.org/Product">
      <h1 itemprop="name"> Espresso
        Machine </h1><span itemprop="sku">E1</span>
      <div itemprop="offers" itemscope itemtype="https://schema.org/Offer"><b itemprop="price">{price}</b>{currency}
      <link itemprop="availability" href="http://schema.org/OutOfStock"></div></div></body></html>"""


@pytest.mark.parametrize(
    ("written", "amount"),
    [("1.299,00", "1299.00"), ("1,299.00", "1299.00"), ("1 299,00", "1299.00"), ("12,50", "12.50"), ("1299", "1299")],
)
def test_numbers_are_read_as_europeans_and_americans_write_them(written: str, amount: str) -> None:
    found = extract(microdata(written), URL)
    assert (found.name, found.price, found.currency) == ("Espresso Machine", Decimal(amount), "EUR")
    assert found.availability is Availability.OUT_OF_STOCK


def test_a_sign_that_only_one_currency_has_is_its_currency() -> None:
    assert extract(microdata("1.299,00 €", currency=""), URL).currency == "EUR"


def test_a_dollar_sign_alone_is_not_guessed() -> None:
    with pytest.raises(NoProductError, match="no currency that is one for certain"):
        extract(microdata("$12.50", currency=""), URL)


def test_opengraph_product_tags_are_read() -> None:
    html = """<html><head><meta property="og:type" content="product"><meta property="og:title" content="Desk">
      <meta property="product:retailer_item_id" content="D1"><meta property="product:availability" content="oos">
      <meta property="product:price:amount" content="529.00"><meta property="product:price:currency" content="usd">
      </head><body>x</body></html>"""
    found = extract(html, URL)
    assert (found.product_id, found.name, found.price, found.currency) == ("D1", "Desk", Decimal("529.00"), "USD")
    assert found.availability is Availability.OUT_OF_STOCK


def test_broken_json_ld_does_not_hide_the_microdata() -> None:
    html = microdata("5,00").replace("<body>", '<body><script type="application/ld+json">{"@type": "Product",</script>')
    assert extract(html, URL).price == Decimal("5.00")


def test_a_gtin_is_one_id_however_many_leading_zeros_it_has() -> None:
    ids = {extract(json_ld(product(gtin=text)), URL).product_id for text in ("012345678905", "0012345678905")}
    assert ids == {"0012345678905"}


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        ("", "no product in JSON-LD, microdata or OpenGraph"),
        ("\x00\x01garbage<<<", "no product in"),
        (json_ld({"@type": "WebPage"}), "no product in"),
        (json_ld(product(offers=None)), "has no offer"),
        (json_ld(product(offers={"priceCurrency": "USD"})), "without a price"),
        (json_ld(product(offers={"price": "free", "priceCurrency": "USD"})), "not a price above zero"),
        (json_ld(product(offers={"price": "-5", "priceCurrency": "USD"})), "not a price above zero"),
        (json_ld(product(offers={"price": float("nan"), "priceCurrency": "USD"})), "not a price above zero"),
        (json_ld(product(offers={"price": "9" * 40, "priceCurrency": "USD"})), "not a price above zero"),
        (json_ld(product(name=" ")), "has no name"),
        (json_ld(product(sku=None)), "has no id"),
    ],
)
def test_a_page_without_a_product_and_its_price_says_what_is_missing(html: str, problem: str) -> None:
    with pytest.raises(NoProductError, match=problem):
        extract(html, URL)


def test_floating_point_noise_is_rounded_away() -> None:
    offer = {"price": 12.300000000000001, "priceCurrency": "USD"}
    assert extract(json_ld(product(offers=offer)), URL).price == Decimal("12.3000")


@pytest.mark.parametrize("name", shop.SHOPS)
@pytest.mark.parametrize("item", shop.CATALOGUE, ids=lambda item: item.gtin)
def test_every_page_of_the_example_shops_gives_the_price_it_was_made_of(name: str, item: shop.Item) -> None:
    day = date(2026, 3, 1)
    found = extract(shop.page(name, item, day), URL)
    assert (found.product_id, found.name, found.currency) == (item.gtin, item.name, "USD")
    assert found.price == Decimal(shop.price_cents(name, item, day)) / 100
    assert (found.availability is Availability.IN_STOCK) == shop.in_stock(name, item, day)


def test_the_example_prices_move_from_day_to_day_and_are_the_same_again() -> None:
    item = shop.CATALOGUE[0]
    days = [date(2026, 3, day) for day in range(1, 29)]
    prices = [shop.price_cents("amazon", item, day) for day in days]
    assert len(set(prices)) > 10
    assert prices == [shop.price_cents("amazon", item, day) for day in days]
    assert all(0.6 < price / item.cents < 1.1 for price in prices)
