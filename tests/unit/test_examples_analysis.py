from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from examples.observations import Availability, Observation
from examples.pricing_service.analysis import analyse, percent_of
from examples.pricing_service.service import window_start
from shared.proto.pricing_service_pb2 import ComprehensivePriceAnalysisRequest

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)


def seen(
    competitor: str,
    price: str,
    *,
    days_ago: float = 0,
    currency: str = "USD",
    product: str = "p1",
    availability: Availability = Availability.IN_STOCK,
) -> Observation:
    return Observation(
        competitor_id=competitor,
        product_id=product,
        name=f"Name of {product}",
        price=Decimal(price),
        currency=currency,
        availability=availability,
        url="http://shop.example/p1",
        observed_at=NOW - timedelta(days=days_ago),
    )


def test_cheapest_and_spread_are_of_each_competitors_latest_price() -> None:
    (found,) = analyse([seen("a", "90", days_ago=2), seen("a", "100"), seen("b", "125.50"), seen("c", "110")], [])
    assert found.cheapest is not None
    assert (found.cheapest.competitor_id, found.cheapest.price) == ("a", Decimal(100))
    assert found.spread is not None
    assert (found.spread.amount, found.spread.percent) == (Decimal("25.50"), Decimal("25.50"))
    assert [latest.observation.competitor_id for latest in found.latest] == ["a", "b", "c"]


def test_the_order_in_which_observations_come_does_not_matter() -> None:
    rows = [seen("a", "90", days_ago=2), seen("a", "100"), seen("b", "125.50"), seen("b", "99", days_ago=1)]
    assert analyse(rows, []) == analyse(rows[::-1], [])


def test_of_equal_prices_the_first_competitor_by_id_is_the_cheapest() -> None:
    (found,) = analyse([seen("b", "5"), seen("a", "5")], [])
    assert found.cheapest is not None
    assert found.cheapest.competitor_id == "a"
    assert found.spread is not None
    assert found.spread.amount == 0


def test_what_is_out_of_stock_is_listed_but_neither_cheapest_nor_in_the_spread() -> None:
    gone = seen("a", "50", availability=Availability.OUT_OF_STOCK)
    (found,) = analyse([gone, seen("b", "100"), seen("c", "120", availability=Availability.UNKNOWN)], [])
    assert found.cheapest is not None
    assert found.cheapest.competitor_id == "b"
    assert found.spread is not None
    assert found.spread.amount == Decimal(20)
    assert len(found.latest) == 3


def test_a_product_that_is_out_of_stock_everywhere_has_no_cheapest_and_no_spread() -> None:
    (found,) = analyse([seen("a", "50", availability=Availability.OUT_OF_STOCK)], [])
    assert found.cheapest is None
    assert found.spread is None


def test_currencies_are_never_compared() -> None:
    euro, dollar = analyse([seen("a", "100"), seen("b", "90", currency="EUR")], [seen("a", "80", currency="EUR")])
    assert (euro.currency, dollar.currency) == ("EUR", "USD")
    assert euro.spread is None
    assert dollar.spread is None
    assert dollar.latest[0].change is None


def test_the_change_is_against_the_same_competitors_price_of_last_week() -> None:
    (found,) = analyse([seen("a", "97.50"), seen("b", "100")], [seen("a", "100", days_ago=8)])
    change = found.latest[0].change
    assert change is not None
    assert (change.amount, change.percent) == (Decimal("-2.50"), Decimal("-2.50"))
    assert found.latest[1].change is None


def test_percentages_have_two_decimals_and_nothing_has_none() -> None:
    assert percent_of(Decimal(1), Decimal(3)) == Decimal("33.33")
    assert percent_of(Decimal(1), Decimal(0)) is None


def test_a_price_far_from_the_others_is_an_outlier_the_farthest_first() -> None:
    rows = [seen("a", str(100 + day % 3), days_ago=day) for day in range(9)]
    sale, slip = seen("b", "60"), seen("c", "10100")
    (found,) = analyse([*rows, sale, slip], [])
    assert found.outliers.observations == (slip, sale)
    assert found.outliers.median == Decimal(101)


def test_a_small_move_of_a_price_that_stood_still_is_no_outlier() -> None:
    rows = [seen("a", "100", days_ago=day) for day in range(1, 10)]
    assert analyse([*rows, seen("a", "101")], [])[0].outliers.observations == ()
    assert len(analyse([*rows, seen("a", "70")], [])[0].outliers.observations) == 1


def test_competitors_that_just_differ_are_no_outliers() -> None:
    prices = ["100", "115", "130", "104", "121", "127"]
    assert analyse([seen(str(i), price) for i, price in enumerate(prices)], [])[0].outliers.observations == ()


def test_fewer_than_five_observations_have_no_outliers() -> None:
    rows = [seen("a", "100"), seen("b", "100"), seen("c", "100"), seen("d", "1000")]
    assert analyse(rows, [])[0].outliers.observations == ()


def test_nothing_observed_gives_nothing() -> None:
    assert analyse([], [seen("a", "1", days_ago=8)]) == []


def test_the_window_is_thirty_days_unless_the_request_says_since_when() -> None:
    assert window_start(ComprehensivePriceAnalysisRequest(), NOW) == NOW - timedelta(days=30)
    since = Timestamp(seconds=int(NOW.timestamp()) - 3600)
    assert window_start(ComprehensivePriceAnalysisRequest(since=since), NOW) == NOW - timedelta(hours=1)


@pytest.mark.parametrize("seconds", [int(NOW.timestamp()), int(NOW.timestamp()) + 1, 10**15, -(10**15)])
def test_since_must_be_a_time_in_the_past(seconds: int) -> None:
    with pytest.raises(ValueError, match=r"in the past|expected a time"):
        window_start(ComprehensivePriceAnalysisRequest(since=Timestamp(seconds=seconds)), NOW)
