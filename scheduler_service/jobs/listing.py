"""Lists: a page at a time, by the index that reaches furthest, and never by more than so many entries of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from pymongo.errors import OperationFailure

from scheduler_service.runs.entry import execution_entry
from scheduler_service.transport.fields import refuse
from scheduler_service.transport.pages import MOST_BYTES, page_size, read_token, take_page, write_token
from shared.domain.errors import InvalidInput, Unavailable, Violation
from shared.domain.execution import DECISIONS_NOT_TO_RUN, State
from shared.domain.filters import (
    EXECUTION_FIELDS,
    EXECUTION_ORDERS,
    JOB_FIELDS,
    JOB_ORDERS,
    Condition,
    Filter,
    Operator,
    parse_filter,
    parse_order,
)
from shared.domain.flow import LONGEST_KEY
from shared.proto import scheduler_service_pb2 as pb
from shared.store.listing import MOST_EXAMINED, Among, execution_listing, job_listing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from google.protobuf.message import Message
    from pymongo.asynchronous.collection import AsyncCollection

    from scheduler_service.jobs.jobs import Jobs
    from scheduler_service.runs.executions import Executions
    from shared.domain.filters import Fields, Order
    from shared.store.listing import Listing, Position, Way

_BAD_VALUE: Final = 2
"""MongoDB's code, also for a hint at an index that is not there."""

MOST_STATES: Final = 100

LEAST_EXAMINED: Final = 250
_ENTRIES_OF_ONE: Final = 4
"""Entries of an index that are looked at first: most questions are about what is not that rare, and a look at
MOST_EXAMINED takes longer than all else that a page does."""

M = TypeVar("M", bound="Message")


async def list_jobs(request: pb.ListScheduledJobsRequest, jobs: Jobs) -> pb.ListScheduledJobsResponse:
    """Return a page of jobs. Raises InvalidInput."""
    found: list[Violation] = []
    chosen, order = read_question(request.filter, request.order_by, JOB_FIELDS, JOB_ORDERS, found)
    name = f"jobs {request.show_deleted} {order} {chosen}"
    size = page_size(request.page_size, found)
    after = read_token(name, request.page_token, found)
    refuse(found)
    listing = job_listing(chosen, order, show_deleted=request.show_deleted)
    page, last = await jobs.page(listing, after, size)
    return pb.ListScheduledJobsResponse(jobs=page, next_page_token=write_token(name, last))


async def list_executions(
    request: pb.ListExecutionsRequest, jobs: Jobs, executions: Executions
) -> pb.ListExecutionsResponse:
    """Return a page of executions. Raises InvalidInput; NoSuch for a job or a parent that there is not."""
    found: list[Violation] = []
    chosen, order = read_question(request.filter, request.order_by, EXECUTION_FIELDS, EXECUTION_ORDERS, found)
    if states := _states(request.states, found):
        chosen = Filter((*chosen.conditions, Condition("state", Operator.EQUAL, states)))
    decisions = request.include_decisions or any(
        DECISIONS_NOT_TO_RUN & {*condition.values}
        for condition in chosen.on("state")
        if condition.operator is Operator.EQUAL
    )
    parent, key = request.parent_execution_id, request.part_key
    name = f"executions {request.job_id} {decisions} {parent} {key} {order} {chosen}"
    size = page_size(request.page_size, found)
    after = read_token(name, request.page_token, found)
    if key and (parent or not request.job_id):
        found.append(Violation("part_key", "needs a job_id, whose items are looked through, and no parent"))
    elif len(key) > LONGEST_KEY:
        found.append(Violation("part_key", f"{len(key):,} characters are too many (at most {LONGEST_KEY})"))
    refuse(found)
    uids = await _uids(request.job_id, chosen, jobs)
    if parent:
        # Also says that there is no such execution.
        await executions.document(parent)
    listing = execution_listing(chosen, order, Among(uids, decisions, parent, key))
    page, last = await executions.page(listing, after, size, execution_entry)
    return pb.ListExecutionsResponse(executions=page, next_page_token=write_token(name, last))


def read_question(
    filter_text: str, order_text: str, fields: Fields, orders: tuple[Order, ...], found: list[Violation]
) -> tuple[Filter, Order]:
    """Read what a list is asked for; of what can't be read, anything, and why."""
    chosen = Filter()
    try:
        chosen = parse_filter(filter_text, fields)
    except InvalidInput as refused:
        found += refused.violations
    try:
        return chosen, parse_order(order_text, orders, chosen)
    except InvalidInput as refused:
        found += refused.violations
        return chosen, orders[0]


async def _uids(job_id: str, chosen: Filter, jobs: Jobs) -> tuple[str, ...] | None:
    """Return the uids of the jobs whose executions are asked for; None when that is not by jobs.

    The job that a request names has to be there; of those that a filter names, those that are not have no executions.
    """
    given = [set(c.values) for c in chosen.on("job_id") if c.operator is Operator.EQUAL]
    if job_id:
        uid = await jobs.uid(job_id)
        return (uid,) if all(job_id in values for values in given) else ()
    return await jobs.uids(set.intersection(*given)) if given else None


def _states(numbers: Sequence[int], found: list[Violation]) -> tuple[str, ...]:
    if len(numbers) > MOST_STATES:
        found.append(Violation("states", f"{len(numbers):,} states are too many (at most {MOST_STATES})"))
        return ()
    known = pb.Execution.State.DESCRIPTOR.values_by_number
    names = {number: value.name.removeprefix("STATE_") for number, value in known.items() if number}
    for index, number in enumerate(numbers):
        if number not in names:
            said = f"{number} is not the number of a state ({', '.join(names.values())})"
            found.append(Violation(f"states[{index}]", said))
    return tuple(sorted({State(names[number]) for number in numbers if number in names}))


async def read_page(
    collection: AsyncCollection[dict[str, Any]],
    listing: Listing,
    after: Position | None,
    size: int,
    convert: Callable[[Mapping[str, Any]], M],
    *,
    hidden: Mapping[str, Any] | None = None,
    load: Callable[[Mapping[str, Any]], Awaitable[None]] | None = None,
    most_bytes: int = MOST_BYTES,
) -> tuple[list[M], Position | None]:
    """Return a page of a list, and the position to go on from, or None when nothing is left.

    A page may hold fewer than `size`, even none, where what is asked for is rare among what the index tells apart.
    hidden: a projection. load: called with each document before it is converted. most_bytes: of a page.
    Raises Unavailable while an index is still being made.
    """
    reading = _Reading(collection, listing, hidden, load)
    try:
        entries, last = await take_page(reading.documents(after, size), size, convert, listing.position, most_bytes)
    except OperationFailure as error:
        if error.code == _BAD_VALUE and "hint" in str(error):
            raise Unavailable("an index that lists need is still being made; try again later") from error
        raise
    return entries, last or reading.through


class _Reading:
    """The reading of one page: a look at a few entries of the index first, which mostly fill it, then at all it may."""

    def __init__(
        self,
        collection: AsyncCollection[dict[str, Any]],
        listing: Listing,
        hidden: Mapping[str, Any] | None,
        load: Callable[[Mapping[str, Any]], Awaitable[None]] | None,
    ) -> None:
        self._collection = collection
        self._listing = listing
        self._hidden = hidden
        self._load = load
        self.through: Position | None = None
        """Up to where the documents are all that there are; None: to the end of the list."""

    async def documents(self, after: Position | None, size: int) -> AsyncIterator[dict[str, Any]]:
        """Find the documents of a page behind a position, and the one that comes then, if it is not far."""
        few = min(max(LEAST_EXAMINED, _ENTRIES_OF_ONE * size), MOST_EXAMINED)
        wanted = size + 1
        for number in (few, MOST_EXAMINED - few):
            if number == 0 or wanted <= 1:
                return
            way, self.through = await self._choose(after, number)
            for stretch in self._listing.found(way, after, self.through):
                found = self._collection.find(
                    stretch.query, self._hidden, sort=stretch.sort, limit=wanted, hint=way.index
                )
                async for document in found:
                    if self._load is not None:
                        await self._load(document)
                    wanted -= 1
                    yield document
                if wanted == 0:
                    return
            if self.through is None:
                return
            after = self.through

    async def _choose(self, after: Position | None, number: int) -> tuple[Way, Position | None]:
        """Return the way that reaches the end of the list, or furthest by so many entries, and how far.

        None means to the end.
        """
        listing = self._listing
        exact = next((way for way in listing.ways if not way.rest), None)
        if exact is not None:
            return exact, None
        reached: list[tuple[Position, Way]] = []
        for way in listing.ways:
            position = await self._entry(way, after, number)
            if position is None:
                return way, None
            reached.append((position, way))
        position, way = listing.furthest(reached)
        return way, position

    async def _entry(self, way: Way, after: Position | None, number: int) -> Position | None:
        """Return where the entry of this number behind a position stands in a way's index; None if there are fewer."""
        listing = self._listing
        stretches = listing.entries(way, after)
        for stretch in stretches:
            if stretch is not stretches[-1]:
                before = await self._collection.count_documents(stretch.query, hint=way.index, limit=number)
                if before < number:
                    number -= before
                    continue
            found = self._collection.find(
                stretch.query, listing.position_fields, sort=stretch.sort, skip=number - 1, limit=1, hint=way.index
            )
            document = await anext(found, None)
            return None if document is None else listing.position(document)
        return None
