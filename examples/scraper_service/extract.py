"""Reads a product out of a shop's page: JSON-LD, microdata or OpenGraph, whichever says all that is needed first."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import extruct
from price_parser import Price

from examples.observations import Availability
from shared.log import get_logger

log = get_logger()

_SYNTAXES = ["json-ld", "microdata", "opengraph"]
_IDS = ("gtin", "gtin13", "gtin12", "gtin14", "gtin8", "productID", "sku", "mpn")
_OPENGRAPH_IDS = ("product:ean", "product:upc", "product:isbn", "product:retailer_item_id", "product:mfr_part_no")
# No "$" or "kr": several currencies are written so, and a wrong guess would be compared with right ones.
_SYMBOLS = {"€": "EUR", "£": "GBP", "₹": "INR", "₩": "KRW", "zł": "PLN", "₺": "TRY", "₴": "UAH", "₪": "ILS"}
_AVAILABILITY = {
    "instock": Availability.IN_STOCK,
    "limitedavailability": Availability.IN_STOCK,
    "onlineonly": Availability.IN_STOCK,
    "instoreonly": Availability.IN_STOCK,
    "outofstock": Availability.OUT_OF_STOCK,
    "oos": Availability.OUT_OF_STOCK,
    "soldout": Availability.OUT_OF_STOCK,
    "discontinued": Availability.OUT_OF_STOCK,
}
_MAX_PRICE = Decimal(10) ** 12
_DECIMALS = 4  # no currency of ISO 4217 has more
_MAX_TEXT = 200
_GTIN = re.compile(r"\d{8,14}")


class NoProductError(ValueError):
    """The page tells no product with a price; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Product:
    """What a page says of a product. `product_id` is its GTIN where the page has one, else the shop's own id."""

    product_id: str
    name: str
    price: Decimal
    currency: str
    availability: Availability


def extract(html: str, url: str) -> Product:
    """Return the product that the page is about, or raise NoProductError.

    Of several offers, the cheapest that can be bought counts, else the cheapest.
    """
    try:
        found = extruct.extract(html, base_url=url, syntaxes=_SYNTAXES, uniform=True, errors="ignore")
    except Exception as error:  # whatever the parsers below make of a page: one page must not end the whole call
        log.warning("A page could not be parsed", action="page_not_parsed", url=url, exc_info=True)
        raise NoProductError(f"not a page that can be read ({type(error).__name__})") from error
    problems = []
    for syntax in _SYNTAXES:
        read = _from_opengraph if syntax == "opengraph" else _from_schema_org
        for item in _products(found.get(syntax, ())):
            try:
                return read(item)
            except NoProductError as problem:
                problems.append(f"{syntax}: {problem}")
    raise NoProductError("; ".join(problems) or "no product in JSON-LD, microdata or OpenGraph")


def _products(items: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    for item in items:
        if not isinstance(item, Mapping):
            continue
        kinds = {str(kind).rsplit("/", 1)[-1].rsplit(":", 1)[-1].lower() for kind in _listed(item.get("@type"))}
        if kinds & {"product", "product.item"}:
            yield item
        yield from _products(_listed(item.get("@graph")) + _listed(item.get("mainEntity")))


def _from_schema_org(item: Mapping[str, Any]) -> Product:
    """Read https://schema.org/Product."""
    offers = []
    problem = NoProductError("the product has no offer")
    for offer in _listed(item.get("offers")):
        try:
            offers.append(_offer(offer))
        except NoProductError as error:
            problem = error
    if not offers:
        raise problem
    price, currency, availability = min(offers, key=lambda offer: (offer[2] is Availability.OUT_OF_STOCK, offer[0]))
    return Product(_product_id(item, _IDS), _name(item.get("name")), price, currency, availability)


def _offer(offer: Any) -> tuple[Decimal, str, Availability]:
    if not isinstance(offer, Mapping):
        raise NoProductError("an offer without a price")
    terms = next((terms for terms in _listed(offer.get("priceSpecification")) if isinstance(terms, Mapping)), {})
    price = next(
        (found for found in (offer.get("price"), offer.get("lowPrice"), terms.get("price")) if found is not None), None
    )
    currency = offer.get("priceCurrency") or terms.get("priceCurrency")
    return *_money(price, currency), _availability(offer.get("availability"))


def _from_opengraph(item: Mapping[str, Any]) -> Product:
    """Read the product tags of https://ogp.me and its commerce extension (product:..., og:...)."""

    def tag(name: str) -> Any:
        return next((item[key] for key in (f"product:{name}", f"og:{name}") if key in item), None)

    price, currency = _money(tag("price:amount"), tag("price:currency"))
    name = _name(item.get("og:title"))
    return Product(_product_id(item, _OPENGRAPH_IDS), name, price, currency, _availability(tag("availability")))


def _money(amount: Any, currency: Any) -> tuple[Decimal, str]:
    """Return price and ISO 4217 code; NoProductError for none, for what is no amount above zero, for no currency."""
    amount, currency = _first(amount), str(_first(currency) or "").strip()
    if amount is None or isinstance(amount, bool | Mapping):
        raise NoProductError("an offer without a price")
    text = str(amount).strip()
    parsed = Price.fromstring(text)
    # In a JSON number the point is a decimal point; in a text 1.299 may be a thousand and more.
    value = Decimal(text) if isinstance(amount, int | float) else parsed.amount
    # The parser drops a minus sign, and reads "free" as 0: neither is a price to compare.
    if value is None or not (value.is_finite() and 0 < value < _MAX_PRICE) or text.startswith(("-", "−")):  # noqa: RUF001
        raise NoProductError(f"{text[:40]!r} is not a price above zero")
    if len(f"{value:f}".partition(".")[2]) > _DECIMALS:
        value = round(value, _DECIMALS)  # 12.300000000000001, out of somebody's floating point
    code = (currency or parsed.currency or "").upper()
    code = _SYMBOLS.get(code.lower(), code)
    if not re.fullmatch(r"[A-Z]{3}", code):
        raise NoProductError(f"the price {text[:40]!r} has no currency that is one for certain")
    return value, code


def _product_id(item: Mapping[str, Any], keys: Iterable[str]) -> str:
    for key in keys:
        text = str(_first(item.get(key)) or "").strip()
        if text:
            # The same product as GTIN-12 and GTIN-13 differs in leading zeros only.
            return text.lstrip("0").zfill(13) if _GTIN.fullmatch(text) else text[:_MAX_TEXT]
    raise NoProductError("the product has no id")


def _name(value: Any) -> str:
    name = " ".join(str(_first(value) or "").split())
    if not name:
        raise NoProductError("the product has no name")
    return name[:_MAX_TEXT]


def _availability(value: Any) -> Availability:
    """Map `https://schema.org/InStock`, `InStock`, `in stock` and the like."""
    word = re.sub(r"[^a-z]", "", str(_first(value) or "").rsplit("/", 1)[-1].lower())
    return _AVAILABILITY.get(word, Availability.UNKNOWN)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _first(value: Any) -> Any:
    return next(iter(_listed(value)), None)
