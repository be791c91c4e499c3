"""The tasks of the platform. jobs.yaml says when they run, where, and what happens when they fail."""

import asyncio
from datetime import timedelta

from examples.forecasting.demand import REGIONS, history
from examples.forecasting.forecasts import forecasts
from examples.forecasting.outlook import Outlook, error, outlook
from worker.app import celery_app, current_execution

HISTORY_DAYS = 182


@celery_app.task
async def forecast(
    regions: tuple[str, ...] = REGIONS, days: int = 14, candidates: int = 20
) -> dict[str, dict[str, object]]:
    """Forecast the demand of regions from the nominal time on; the more candidates, the better, and the longer.

    What was made for some regions only is discarded when it is cancelled or fails.
    """
    execution = current_execution()
    made = {}
    try:
        for place, region in enumerate(regions):
            past = history(region, execution.nominal_time.date(), HISTORY_DAYS)
            errors = {}
            for number in range(1, candidates + 1):
                smoothing = number / (candidates + 1)
                errors[smoothing] = error(past, smoothing)
                execution.progress(place * candidates + number, len(regions) * candidates, region)
                await asyncio.sleep(0)  # lets other coroutines run, and is where a cancel arrives
            best = outlook(past, days, min(errors, key=errors.__getitem__))
            await forecasts().draft(execution.execution_id, region, execution.nominal_time, best)
            made[region] = {"days": best.days, "error": best.error}
    except (asyncio.CancelledError, Exception):
        discarded = await forecasts().discard(execution.execution_id)
        execution.log.info("drafts discarded", count=discarded)
        raise
    await forecasts().publish(execution.execution_id)
    return made


@celery_app.task
def summarize(outlooks: dict[str, Outlook]) -> dict[str, object]:
    """Say in a few words what was forecast; the outlooks are what `forecast` has returned."""
    total = sum(each.total for each in outlooks.values())
    first = max(outlooks, key=lambda region: outlooks[region].total)
    least_sure = max(outlooks, key=lambda region: outlooks[region].error)
    said = f"{total:,.0f} in all, most in {first} ({outlooks[first].total:,.0f}); least sure is {least_sure}"
    return {"text": said, "total": round(total, 1)}


@celery_app.task
async def clean_up(older_than_days: int) -> dict[str, int]:
    """Remove forecasts that are older than so many days, counted from the nominal time."""
    oldest = current_execution().nominal_time - timedelta(days=older_than_days)
    return {"removed": await forecasts().remove_before(oldest)}
