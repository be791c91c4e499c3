"""The filters on jobs against a real MongoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from shared.domain.job import JobState
from shared.store import jobs
from tests.builders import job_document

if TYPE_CHECKING:
    from pymongo.database import Database

Db: TypeAlias = "Database[dict[str, Any]]"

RULES = {"schedule.rules": "0a", "schedule.tzdata": "2025.1"}
DONE = {"state": JobState.COMPLETED.value, "policies.delete_after_done": True}
FILTERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "an edit": (jobs.edit_filter("job-1", 1), {}),
    "delete_after_done": (jobs.done_filter(range(jobs.PARTITIONS)), DONE),
    "other zone rules": (jobs.follows_filter("0a", "2025.1"), RULES),
    "other days": (jobs.days_filter("2025-2036 0a"), {"schedule.exclusions": {"source": "2025-2036 0a"}}),
    "the first zone rules": (jobs.unmarked_filter(), {"schedule.rules": None, "schedule.tzdata": None}),
}


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize(("schema", "found"), [(None, 1), (1, 1), (jobs.SCHEMA, 1), (jobs.SCHEMA + 1, 0)])
def test_nothing_that_edits_finds_a_job_of_a_newer_schema(
    database: Db, name: str, schema: int | None, found: int
) -> None:
    """An edit would write an older schema over it, without what it has more."""
    wanted, fields = FILTERS[name]
    database.jobs.insert_one(job_document("job-1"))
    database.jobs.update_one({}, {"$set": {"schema": schema, **fields}})
    if schema is None:
        database.jobs.update_one({}, {"$unset": {"schema": ""}})
    assert database.jobs.count_documents(wanted) == found


def test_a_document_without_a_revision_is_found_to_be_parked(database: Db) -> None:
    database.jobs.insert_one(job_document("job-1"))
    database.jobs.update_one({}, {"$unset": {"revision": ""}})
    assert database.jobs.update_one(jobs.edit_filter("job-1", None), jobs.park("damaged")).modified_count == 1
