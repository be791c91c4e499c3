"""WatchJobs: each job that has changed, as it is by then; of changes in quick succession the last may stand for all."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import PyMongoError

from scheduler_service.jobs.jobs import read_job
from scheduler_service.transport.convert import job_message
from scheduler_service.watching.feed import SIGN_OF_LIFE, Feed, Subscription
from scheduler_service.watching.watch_tokens import Told, check_age, watched, write_token
from shared.domain.job import JobState
from shared.log import get_logger
from shared.proto import scheduler_service_pb2 as pb
from shared.store import jobs, tail
from shared.store.mongo import is_away

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
    from datetime import datetime

    from pymongo.asynchronous.database import AsyncDatabase

    from scheduler_service.jobs.zone_rules import ZoneRules
    from scheduler_service.watching.tail import Look

log = get_logger()

_NOT_DELETED: Final = {"state": {"$ne": JobState.DELETED.value}}


@dataclass(frozen=True, slots=True)
class ChosenJobs:
    """What a watcher is told of; what is empty does not matter."""

    job_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The same text for the same choice."""
        return watched("jobs", self.labels, job_id=self.job_id)

    def filter(self) -> dict[str, Any]:
        """Find the jobs."""
        found: dict[str, Any] = {"_id": self.job_id} if self.job_id else {}
        if self.labels:
            labels = [{"$elemMatch": {"key": key, "value": value}} for key, value in self.labels.items()]
            found["labels"] = {"$all": labels}
        return found

    def takes(self, document: Mapping[str, Any]) -> bool:
        """Return whether a job is one of those."""
        return self.job_id in {"", document["_id"]} and self.labels.items() <= jobs.labels_of(document).items()


_News = tuple[pb.ScheduledJob, Told]


class JobFeed(Feed[_News]):
    """Tells of jobs. At once, since nothing is numbered: what has not settled may be told again to one who resumes."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], zone_rules: ZoneRules) -> None:
        self._zone_rules = zone_rules
        self._watchers: set[_Watcher] = set()
        super().__init__(database[jobs.COLLECTION], {})

    def forget(self) -> None:
        """Begin anew; nothing is kept of what was told."""
        self._untold: list[Look] = []

    def subscriptions(self) -> Iterator[Subscription[_News]]:
        """Return those of all watchers."""
        yield from list(self._watchers)

    async def tell(self, look: Look) -> None:
        """Tell of all that a look has found. Raises PyMongoError when the store went away since; the next tells it."""
        self._untold.append(look)
        messages = [(document, await self._message(document)) for look in self._untold for document in look.documents]
        # From here on without a pause, so that whoever joins finds either all of it told, or none.
        self._look = look
        told = Told.all_by(self._untold[0].since)
        self._untold.clear()
        for document, message in messages:
            for watcher in self._watchers:
                if message is not None and watcher.chosen.takes(document):
                    watcher.put((message, told))

    async def _message(self, document: Mapping[str, Any]) -> pb.ScheduledJob | None:
        try:
            await self._zone_rules.load([document])
            return job_message(read_job(document))
        except Exception as error:
            if isinstance(error, PyMongoError) and is_away(error):
                raise
            log.exception("a job can't be read, and is not told of", action="watch_failed", job_id=document["_id"])
            return None

    async def watch(
        self, chosen: ChosenJobs, told: Told | None, *, initial: bool
    ) -> AsyncGenerator[pb.WatchJobsResponse]:
        """Return what is to be told, without an end. told: what was told before; None: everything until now.

        Raises as ExecutionFeed.watch does.
        """
        text = chosen.text
        with self.reading():
            await self.looked(ready=True)
            if told is not None:
                check_age(told, self.now)
                initial = False
            with self._subscribed(chosen) as watcher:
                joined = Told.all_by(watcher.joined)
                if initial:
                    async for message in self._found(chosen.filter() | _NOT_DELETED):
                        # Without a token: one that is cut off in the middle begins anew.
                        yield pb.WatchJobsResponse(job=message, initial=True)
                if told is not None:
                    for changed in tail.ranges(told.since):
                        async for message in self._found({**chosen.filter(), "changed": changed}):
                            yield pb.WatchJobsResponse(job=message, resume_token=write_token(text, told))
                yield pb.WatchJobsResponse(resume_token=write_token(text, joined))
                while True:
                    news = await watcher.take(SIGN_OF_LIFE)
                    if news is None:
                        yield pb.WatchJobsResponse(resume_token=write_token(text, Told.all_by(self.settled)))
                    else:
                        yield pb.WatchJobsResponse(job=news[0], resume_token=write_token(text, news[1]))

    async def _found(self, chosen: Mapping[str, Any]) -> AsyncIterator[pb.ScheduledJob]:
        index = "tail" if "changed" in chosen else "_id_"
        async for document in self._collection.find(chosen, batch_size=200, hint=index):
            if (message := await self._message(document)) is not None:
                yield message

    @contextmanager
    def _subscribed(self, chosen: ChosenJobs) -> Iterator[_Watcher]:
        watcher = _Watcher(self.settled, chosen)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)


class _Watcher(Subscription[_News]):
    """A watcher of jobs, and what it has chosen."""

    def __init__(self, joined: datetime, chosen: ChosenJobs) -> None:
        super().__init__(joined)
        self.chosen = chosen
