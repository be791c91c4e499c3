"""Beat's duty for copies that Redis has missed, on real stores: one that can't be made costs no other."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery.result import AsyncResult
from structlog.testing import capture_logs

from beat.copies import Copies
from dev.run import ROOT
from shared.messaging.app import make_app
from shared.messaging.queues import load_queues
from shared.settings import Settings
from shared.tasks.app import LedgeredCelery
from shared.tasks.results import ResultCopy
from tests.builders import fired, job_document
from tests.integration.test_beat_fire import BelievesAll

if TYPE_CHECKING:
    from pymongo.database import Database

    from dev.servers import Servers


@pytest.mark.parametrize(
    "damage",
    [{"result": "no JSON"}, {"state": "FAILED", "canvas": '{"newer": 1}'}, {"state": "CANCELLED", "transitions": []}],
    ids=str,
)
def test_a_copy_that_cannot_be_made_keeps_its_mark_and_no_other_waiting(
    database: Database[dict[str, Any]], servers: Servers, monkeypatch: pytest.MonkeyPatch, damage: dict[str, Any]
) -> None:
    now = datetime.now(UTC)
    ended: dict[str, Any] = {"state": "SUCCEEDED", "trigger": "API", "uncopied": True}
    rows = [
        fired(job_document(name), now, **ended, result=json.dumps(name)) | changes
        for name, changes in (("damaged", damage), ("good", {}))
    ]
    database.executions.insert_many(rows)
    settings = Settings(celery_broker_url=servers.rabbitmq.url, celery_result_backend=servers.redis.url)
    held = BelievesAll(database, "beat", timedelta(seconds=60))
    with make_app(settings, load_queues(ROOT / "config"), LedgeredCelery) as app:
        duty = Copies(database, held, app, ResultCopy(app.backend))
        with capture_logs() as logged:
            assert duty.run_once()
        assert AsyncResult(rows[1]["_id"], app=app).get(timeout=60) == "good"
        assert [row["job_id"] for row in database.executions.find({"uncopied": True})] == ["damaged"]
        assert [each["execution_id"] for each in logged if each["action"] == "copy_failed"] == [rows[0]["_id"]]
        assert not duty.run_once(), "it is left alone for a while"
        monkeypatch.setattr("beat.aside.monotonic", lambda: float("inf"))
        database.executions.replace_one({"_id": rows[0]["_id"]}, rows[0] | ended | {"result": "1"})
        assert duty.run_once()
        assert not database.executions.count_documents({"uncopied": True})
