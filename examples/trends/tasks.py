"""The tasks of the platform, and the part of its schedule that is kept as Celery's; the rest is in jobs.yaml."""

import asyncio
from collections import Counter
from dataclasses import asdict, dataclass

from celery.schedules import crontab

from examples.settings import read
from examples.trends.archive import archive
from examples.trends.depths import depths, tell
from examples.trends.plugins import PLUGINS, BusyError, archived, newest
from examples.trends.settings import TrendsSettings
from worker.app import celery_app, current_execution

settings = read(TrendsSettings)


@dataclass(frozen=True, slots=True)
class Collected:
    """What a source has said."""

    plugin: str
    posts: list[str]


@celery_app.task
def list_plugins() -> list[str]:
    """Return the names of all plugins: the items that a fan-out runs over."""
    return list(PLUGINS)


@celery_app.task(
    queue="collect",
    # Waits of up to 2, 4, 8, ... seconds, each by chance, so that what failed together does not come back together.
    autoretry_for=(BusyError,),
    max_retries=5,
    retry_backoff=2,
    retry_backoff_max=60,
    retry_jitter=True,
)
async def collect(plugin: str) -> dict[str, object]:
    """Collect the newest posts of a source."""
    execution = current_execution()
    posts = await newest(plugin, execution.nominal_time, execution.attempt)
    return asdict(Collected(plugin, posts))


@celery_app.task(queue="process")
def process(collected: Collected) -> dict[str, object]:
    """Count what a source talks about."""
    return {"plugin": collected.plugin, "topics": _counts(collected.posts)}


@celery_app.task
def rank(collected: list[Collected | None], top: int = 3) -> list[str]:
    """Return the topics of all sources together, the most frequent first. None is a source that failed."""
    counts = Counter(_counts([post for each in collected if each is not None for post in each.posts]))
    return [topic for topic, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:top]]


@celery_app.task
def follow(plugin: str) -> str:
    """Collect and process a source by a chain of Celery's; return the id of the execution that ends it."""
    return str((collect.s(plugin) | process.s()).apply_async().id)


# As Celery has it, late means: when it has ended, not when it begins. Here that holds for every task.
@celery_app.task(queue="collect", acks_late=True, reject_on_worker_lost=True)
async def backfill(plugin: str, pages: int, pause_seconds: float = 1.0) -> dict[str, int]:
    """Process the archive of a source, with pauses out of politeness; go on where an attempt that was lost had got."""
    execution = current_execution()
    there = await archive().pages(plugin)
    missing = [page for page in range(pages) if page not in there]
    for number, page in enumerate(missing, 1):
        await archive().keep(plugin, page, _counts(await archived(plugin, page)))
        execution.progress(pages - len(missing) + number, pages, f"page {page} of {plugin}")
        await asyncio.sleep(pause_seconds)
    return {"pages": pages, "fetched_by_this_attempt": len(missing)}


@celery_app.task(queue="monitoring")
def watch_queues() -> dict[str, dict[str, int]]:
    """Look at the length of all queues, and tell of those that are too long."""
    found = list(depths(celery_app))
    for depth in found:
        if depth.messages > settings.trends_queue_limit:
            current_execution().log.warning("a queue is too long", **asdict(depth), limit=settings.trends_queue_limit)
            if settings.trends_alert_webhook:
                tell(settings.trends_alert_webhook, depth)
    return {depth.queue: {"messages": depth.messages, "consumers": depth.consumers} for depth in found}


celery_app.conf.beat_schedule.update(
    {
        "reddit-every-15-minutes": {
            "task": "examples.trends.tasks.follow",
            "schedule": crontab(minute="*/15"),
            "args": ("reddit",),
        },
        "queue-depths": {
            "task": "examples.trends.tasks.watch_queues",
            "schedule": crontab(),
            "options": {"expires": 60},
        },
    }
)


def _counts(posts: list[str]) -> dict[str, int]:
    return dict(Counter(topic for post in posts for topic in post.split(" and ")))
