"""The gRPC service: a request in, pages read, observations stored, a result out."""

import asyncio
import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from typing_extensions import override

from examples.calls import Context
from examples.observations import Observation, Observations
from examples.scraper_service.scrape import Competitor, Scraped, Wanted, scrape
from shared.log import get_logger
from shared.proto.scraper_service_pb2 import (
    CompetitorResult,
    PageFailure,
    ScrapeCompetitorPricesRequest,
    ScrapeCompetitorPricesResponse,
)
from shared.proto.scraper_service_pb2_grpc import ScraperServiceServicer

log = get_logger()

MAX_PAGE_FAILURES = 20
MAX_STATUS_CHARACTERS = 2000
"""A status message travels in a header; calls with more than about 8 KiB of it are lost."""

SHARE_OF_DEADLINE = 0.8
"""How much of the caller's time fetching may take, so that what was read by then is still stored and returned."""


@dataclass(frozen=True)
class ScraperService(ScraperServiceServicer):
    """Scrapes the competitors, by id; one gets at most `competitor_timeout` seconds."""

    competitors: Mapping[str, Competitor]
    observations: Observations
    competitor_timeout: float

    @override
    async def ScrapeCompetitorPrices(
        self, request: ScrapeCompetitorPricesRequest, context: Context
    ) -> ScrapeCompetitorPricesResponse:
        """Errors: see the proto. A cancelled call cancels its fetches, and stores nothing."""
        problems = check(request, self.competitors.keys())
        if problems:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "; ".join(problems)[:MAX_STATUS_CHARACTERS])
        chosen = [self.competitors[one] for one in sorted(set(request.competitor_ids) or self.competitors)]
        wanted = Wanted(request.top_products_only, frozenset(request.product_ids), request.max_products)
        # None without a deadline, other than the stubs say.
        remaining = cast("float | None", context.time_remaining())
        budget = min(self.competitor_timeout, math.inf if remaining is None else remaining * SHARE_OF_DEADLINE)

        observed_at = datetime.now(UTC)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(scrape(one, wanted, budget)) for one in chosen]
        results = [task.result() for task in tasks]
        if all(result.error for result in results):
            reasons = "; ".join(f"{result.competitor_id}: {result.error}" for result in results)
            message = f"no competitor could be read: {reasons}"
            await context.abort(grpc.StatusCode.UNAVAILABLE, message[:MAX_STATUS_CHARACTERS])

        metadata = dict(context.invocation_metadata() or ())
        execution_id = str(metadata.get("x-execution-id") or uuid.uuid4())
        seen = observed(results, observed_at)
        stored = await self.observations.record(execution_id, seen)
        log.info("Observations stored", action="observations_stored", stored=stored, seen=len(seen))
        return _response(results, seen, stored, observed_at, wanted)


def check(request: ScrapeCompetitorPricesRequest, known: Iterable[str]) -> list[str]:
    """Return a sentence for everything that is wrong with a request."""
    problems = []
    unknown = sorted(set(request.competitor_ids) - set(known))
    if unknown:
        names = ", ".join(map(repr, unknown))
        problems.append(f"competitor_ids: {names} not known; known are {', '.join(sorted(known))}")
    if request.max_products < 0:
        problems.append(f"max_products: {request.max_products} is below 0; 0 means no limit")
    return problems


def observed(results: Iterable[Scraped], observed_at: datetime) -> list[Observation]:
    """Return an observation a competitor and product; of two pages of one product, the cheaper counts."""
    seen: dict[tuple[str, str], Observation] = {}
    for result in results:
        for url, product in sorted(result.products.items(), key=lambda page: (page[1].price, page[0])):
            seen.setdefault(
                (result.competitor_id, product.product_id),
                Observation(
                    competitor_id=result.competitor_id,
                    product_id=product.product_id,
                    name=product.name,
                    price=product.price,
                    currency=product.currency,
                    availability=product.availability,
                    url=url,
                    observed_at=observed_at,
                ),
            )
    return list(seen.values())


def _response(
    results: Sequence[Scraped], seen: Sequence[Observation], stored: int, observed_at: datetime, wanted: Wanted
) -> ScrapeCompetitorPricesResponse:
    at = Timestamp()
    at.FromDatetime(observed_at)
    listed: frozenset[str] = frozenset().union(*(result.listed_ids for result in results))
    return ScrapeCompetitorPricesResponse(
        observation_count=len(seen),
        already_stored_count=len(seen) - stored,
        failed_page_count=sum(len(result.failures) for result in results),
        incomplete_competitor_ids=[result.competitor_id for result in results if result.error or result.failures],
        observed_at=at,
        competitors=[_competitor_result(result, seen) for result in results],
        unlisted_product_ids=sorted(wanted.product_ids - listed),
    )


def _competitor_result(result: Scraped, seen: Iterable[Observation]) -> CompetitorResult:
    took = Duration()
    took.FromMicroseconds(int(result.seconds * 1e6))
    outcome = CompetitorResult.OUTCOME_COMPLETE
    if result.error:
        outcome = CompetitorResult.OUTCOME_FAILED
    elif result.failures:
        outcome = CompetitorResult.OUTCOME_PARTIAL
    return CompetitorResult(
        competitor_id=result.competitor_id,
        outcome=outcome,
        observation_count=sum(one.competitor_id == result.competitor_id for one in seen),
        failed_page_count=len(result.failures),
        error=result.error,
        page_failures=[
            PageFailure(url=url, reason=reason) for url, reason in list(result.failures.items())[:MAX_PAGE_FAILURES]
        ],
        duration=took,
    )
