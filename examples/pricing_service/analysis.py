"""The analysis: a pure function from observations to what is worth knowing of them. Amounts stay Decimal."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from statistics import median

from examples.observations import Availability, Observation

WEEK = timedelta(days=7)
"""How old an observation must be for a comparison with last week."""

# The rule of B. Iglewicz and D. Hoaglin, "How to Detect and Handle Outliers" (1993): a modified z-score above 3.5.
# The median absolute deviation (MAD), unlike the standard deviation, is not itself moved by the outliers.
_CONSISTENCY = Decimal("0.6745")
_MAX_SCORE = Decimal("3.5")
# Prices often stand still, so that the MAD is near 0 and the score of a cent enormous: a tenth is also required.
_MIN_SHARE_OF_MEDIAN = Decimal("0.1")
_MIN_OBSERVATIONS = 5


@dataclass(frozen=True, slots=True)
class Change:
    """A price now, compared with `previous`."""

    previous: Observation
    amount: Decimal
    percent: Decimal | None


@dataclass(frozen=True, slots=True)
class Latest:
    """A competitor's latest observation; `change` is None when there is no earlier one to compare with."""

    observation: Observation
    change: Change | None


@dataclass(frozen=True, slots=True)
class Spread:
    """Highest minus lowest price, and the same in percent of the lowest."""

    amount: Decimal
    percent: Decimal | None


@dataclass(frozen=True, slots=True)
class Outliers:
    """Observations far from `median`, the farthest first."""

    median: Decimal
    observations: tuple[Observation, ...]


@dataclass(frozen=True, slots=True)
class ProductAnalysis:
    """One product in one currency."""

    product_id: str
    name: str
    currency: str
    cheapest: Observation | None
    spread: Spread | None
    latest: tuple[Latest, ...]
    outliers: Outliers


def analyse(window: Iterable[Observation], week_ago: Iterable[Observation]) -> list[ProductAnalysis]:
    """Return an analysis of each product and currency in `window`, ordered by these.

    `week_ago` holds what latest prices are compared with: each competitor's latest observation that is at least a
    `WEEK` old. Prices in different currencies are never compared. An offer that is out of stock is listed, but is
    neither the cheapest nor part of the spread: nobody can buy at that price.
    """
    by_product: defaultdict[tuple[str, str], list[Observation]] = defaultdict(list)
    for seen in window:
        by_product[seen.product_id, seen.currency].append(seen)
    previous: defaultdict[tuple[str, str], dict[str, Observation]] = defaultdict(dict)
    for seen in week_ago:
        previous[seen.product_id, seen.currency][seen.competitor_id] = seen
    return [
        _analyse_product(product_id, currency, by_product[product_id, currency], previous[product_id, currency])
        for product_id, currency in sorted(by_product)
    ]


def _analyse_product(
    product_id: str, currency: str, seen: Sequence[Observation], previous: dict[str, Observation]
) -> ProductAnalysis:
    in_time = sorted(seen, key=lambda one: one.observed_at)
    latest = {one.competitor_id: one for one in in_time}
    offers = [one for one in latest.values() if one.availability is not Availability.OUT_OF_STOCK]
    return ProductAnalysis(
        product_id=product_id,
        name=in_time[-1].name,
        currency=currency,
        cheapest=min(offers, key=lambda one: (one.price, one.competitor_id), default=None),
        spread=spread([one.price for one in offers]),
        latest=tuple(Latest(latest[one], _change(latest[one], previous.get(one))) for one in sorted(latest)),
        outliers=outliers(seen),
    )


def spread(prices: Sequence[Decimal]) -> Spread | None:
    """Return how far prices are apart; None for fewer than two."""
    if len(prices) < 2:  # noqa: PLR2004
        return None
    amount = max(prices) - min(prices)
    return Spread(amount, percent_of(amount, min(prices)))


def outliers(seen: Sequence[Observation]) -> Outliers:
    """Return those with a modified z-score above 3.5 that are also more than a tenth off the median.

    Fewer than five observations have none: their median says too little.
    """
    middle = median(one.price for one in seen)
    if len(seen) < _MIN_OBSERVATIONS:
        return Outliers(middle, ())
    mad = median(abs(one.price - middle) for one in seen)
    far = [
        one
        for one in seen
        if _CONSISTENCY * abs(one.price - middle) > _MAX_SCORE * mad
        and abs(one.price - middle) > _MIN_SHARE_OF_MEDIAN * middle
    ]
    return Outliers(middle, tuple(sorted(far, key=lambda one: (-abs(one.price - middle), one.observed_at))))


def percent_of(part: Decimal, whole: Decimal) -> Decimal | None:
    """Return `part` in percent of `whole`, to two decimals; None of nothing."""
    return (part / whole * 100).quantize(Decimal("0.01"), ROUND_HALF_EVEN) if whole else None


def _change(latest: Observation, previous: Observation | None) -> Change | None:
    if previous is None:
        return None
    amount = latest.price - previous.price
    return Change(previous, amount, percent_of(amount, previous.price))
