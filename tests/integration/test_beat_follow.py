"""Beat's duty for what follows calls in Celery's canvas, on a real store: one that can't be followed costs no other."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from beat.follow import Follow
from shared.store.jobs import PARTITIONS
from shared.tasks.app import celery_app
from shared.tasks.results import ResultCopy
from tests.builders import fired, job_document

if TYPE_CHECKING:
    import pytest
    from pymongo.database import Database


class HoldsAll:
    held = frozenset(range(PARTITIONS))


def ended(name: str, canvas: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    return fired(job_document(name), now, now, state="SUCCEEDED", result="1", canvas=canvas, follow=True)


def test_what_can_not_be_followed_keeps_its_mark_and_no_other_waiting(
    database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
):
    nothing = json.dumps({"links": [], "errbacks": [], "chain": [], "body": None})
    rows = [ended("damaged", "no JSON"), ended("good", nothing)]
    database.executions.insert_many(rows)
    follow = Follow(database, HoldsAll(), celery_app, ResultCopy(celery_app.backend))  # type: ignore[arg-type]
    assert follow.run_once()
    marked = [row["job_id"] for row in database.executions.find({"follow": True})]
    assert marked == ["damaged"]
    assert not follow.run_once(), "it is left alone for a while"
    monkeypatch.setattr("beat.aside.monotonic", lambda: float("inf"))
    database.executions.update_one({"job_id": "damaged"}, {"$set": {"canvas": nothing}})
    assert follow.run_once()
    assert not database.executions.count_documents({"follow": True})
