"""The gRPC service: a request in, observations read and analysed, a result out."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from typing_extensions import override

from examples.calls import Context
from examples.observations import Availability, Observation, Observations
from examples.pricing_service import analysis
from shared.log import get_logger
from shared.proto import pricing_service_pb2 as messages
from shared.proto.pricing_service_pb2_grpc import PricingServiceServicer

log = get_logger()

DEFAULT_WINDOW = timedelta(days=30)

OLDEST_COMPARISON = timedelta(days=30)
"""Older than this, a price says nothing about a week's change, and looking for it would read all history."""

MAX_OUTLIERS = 10
"""Listed a product; all are counted."""


@dataclass(frozen=True)
class PricingService(PricingServiceServicer):
    """Analyses what the scraper stored."""

    observations: Observations

    @override
    async def ComprehensivePriceAnalysis(
        self, request: messages.ComprehensivePriceAnalysisRequest, context: Context
    ) -> messages.ComprehensivePriceAnalysisResponse:
        """Errors: see the proto."""
        now = datetime.now(UTC)
        try:
            since = window_start(request, now)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"since: {error}")
        competitor_ids = sorted(set(request.competitor_ids))
        window = await self.observations.between(since, now, competitor_ids)
        week_ago = await self.observations.latest_between(now - OLDEST_COMPARISON, now - analysis.WEEK, competitor_ids)
        # Hundreds of thousands of observations take seconds: in a thread, so that other calls are answered meanwhile.
        products = await asyncio.to_thread(analysis.analyse, window, week_ago)
        log.info("Prices analysed", action="prices_analysed", observations=len(window), products=len(products))
        return messages.ComprehensivePriceAnalysisResponse(
            observation_count=len(window),
            product_count=len(products),
            outlier_count=sum(len(product.outliers.observations) for product in products),
            competitor_ids_without_observations=sorted(set(competitor_ids) - {seen.competitor_id for seen in window}),
            since=_timestamp(since),
            until=_timestamp(now),
            products=[_product(product) for product in products],
        )


def window_start(request: messages.ComprehensivePriceAnalysisRequest, now: datetime) -> datetime:
    """Return since when to look; ValueError, with a sentence, for what is no time in the past."""
    if not request.HasField("since"):
        return now - DEFAULT_WINDOW
    try:
        since = request.since.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise ValueError("expected a time of the years 1 to 9999") from None
    if since >= now:
        raise ValueError(f"{since.isoformat()} is not in the past")
    return since


def _product(product: analysis.ProductAnalysis) -> messages.ProductAnalysis:
    return messages.ProductAnalysis(
        product_id=product.product_id,
        name=product.name,
        currency=product.currency,
        cheapest=_offer(product.cheapest) if product.cheapest else None,
        spread=_spread(product.spread) if product.spread else None,
        latest_prices=[_competitor_price(latest) for latest in product.latest],
        outlier_count=len(product.outliers.observations),
        outliers=_outliers(product.outliers.observations[:MAX_OUTLIERS], product.outliers.median),
    )


def _offer(seen: Observation) -> messages.Offer:
    return messages.Offer(competitor_id=seen.competitor_id, price=_decimal(seen.price))


def _spread(spread: analysis.Spread) -> messages.Spread:
    return messages.Spread(amount=_decimal(spread.amount), percent=_decimal(spread.percent))


def _competitor_price(latest: analysis.Latest) -> messages.CompetitorPrice:
    seen = latest.observation
    return messages.CompetitorPrice(
        competitor_id=seen.competitor_id,
        price=_decimal(seen.price),
        out_of_stock=seen.availability is Availability.OUT_OF_STOCK,
        observed_at=_timestamp(seen.observed_at),
        change_since_last_week=_price_change(latest.change) if latest.change else None,
    )


def _price_change(change: analysis.Change) -> messages.PriceChange:
    return messages.PriceChange(
        previous_price=_decimal(change.previous.price),
        previous_observed_at=_timestamp(change.previous.observed_at),
        amount=_decimal(change.amount),
        percent=_decimal(change.percent),
    )


def _outliers(seen: Sequence[Observation], median: Decimal) -> list[messages.Outlier]:
    return [
        messages.Outlier(
            competitor_id=one.competitor_id,
            price=_decimal(one.price),
            median=_decimal(median),
            observed_at=_timestamp(one.observed_at),
        )
        for one in seen
    ]


def _decimal(value: Decimal | None) -> str:
    """Write a decimal without an exponent, as people read money; nothing for None."""
    return "" if value is None else f"{value:f}"


def _timestamp(value: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(value)
    return timestamp
