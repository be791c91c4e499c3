"""New documents begin with what indexes hold: MongoDB looks for each field from the beginning, for each index anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shared.store import executions, jobs
from shared.store.indexes import INDEXES
from tests.builders import at, fired, job_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def names(paths: Iterable[str]) -> set[str]:
    return {path.partition(".")[0] for path in paths}


def in_indexes(collection: str) -> set[str]:
    documents = [index.document for index in INDEXES[collection]]
    return {"_id"}.union(
        *(names(index["key"]) | names(index.get("partialFilterExpression", ())) for index in documents)
    )


def first_fields(document: Mapping[str, Any], wanted: set[str]) -> set[str]:
    """Return the fields of a document up to the last of those wanted."""
    fields = list(document)
    return set(fields[: 1 + max(fields.index(name) for name in wanted & document.keys())])


def test_a_new_job_begins_with_what_indexes_hold_and_what_changes_when_it_fires() -> None:
    document = job_document()
    # The index of what is done looks at the policies of completed jobs only.
    held = in_indexes(jobs.COLLECTION) - {"policies"}
    moved = jobs.advance(document["covered"], document["next_nominal"], 1, jobs.to_chain(document).spec.mode)
    fires = {"revision"}.union(*moved.values())
    assert first_fields(document, held) <= held | fires


@pytest.mark.parametrize(
    "document",
    [
        fired(job_document(), at(1)),
        executions.manual_document(job_document(), "token", "manual", "", at(1), "tester"),
        executions.retry_document(fired(job_document(), at(1)), "token", "manual", "", at(2), "tester"),
    ],
    ids=["fired", "by hand", "retry"],
)
def test_a_new_row_begins_with_what_indexes_hold(document: Mapping[str, Any]) -> None:
    # But for what only retries have.
    held = in_indexes(executions.COLLECTION) - {"retry_of"}
    assert first_fields(document, held) <= held | {"born"}
