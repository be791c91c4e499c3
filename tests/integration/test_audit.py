"""The audit over gRPC and on the command line: what it reads, where its view begins, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import structlog

from dev.server import HOST, free_port
from scheduler_service.operations import audit as reader
from shared.domain.audit import View
from shared.domain.execution import State
from shared.domain.plan import Mode, Row, Spec
from shared.domain.zones import fingerprint, zone_data
from shared.proto import admin_service_pb2 as pb
from shared.proto import maintenance_service_pb2 as maintenance_pb
from shared.store import audit as store
from shared.store import executions, jobs
from tests.builders import every, fired, job_document
from tests.integration.test_server_harness import Running, refusal, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

ROOT = Path(__file__).resolve().parents[2]
LONG_AGO = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)


def after(seconds: float) -> datetime:
    return LONG_AGO + timedelta(seconds=seconds)


@dataclass
class Ledger:
    """A job that was made a day ago, fires every minute, and was set aside when its last row was written."""

    database: Database[dict[str, Any]]
    job: dict[str, Any]

    @classmethod
    def of(cls, database: Database[dict[str, Any]], job_id: str = "job-1") -> Ledger:
        job = job_document(job_id, every(60, anchor=LONG_AGO), created=LONG_AGO)
        database.jobs.insert_one(job | {"state": "ERROR"})
        ledger = cls(database, job)
        ledger.history(0, Mode.ACTIVE, LONG_AGO)
        return ledger

    def history(self, epoch: int, mode: Mode, began: datetime) -> None:
        followed = Spec(every(60, anchor=LONG_AGO), mode)
        entry = jobs.revision_document(self.job["uid"], epoch, followed, began, "tester", "testing")
        self.database.job_revisions.insert_one(entry)
        self.job["epoch"] = epoch
        self.database.jobs.update_one({"_id": self.job["_id"]}, {"$set": {"epoch": epoch}})

    def runs(self, first: int, last: int) -> list[str]:
        """Add runs of the first to the last minute; return their ids."""
        rows = [ended(fired(self.job, after(60 * minute))) for minute in range(first, last + 1)]
        self.database.executions.insert_many(rows)
        return [row["_id"] for row in rows]

    def gap(self, first: int, last: int) -> None:
        row = Row(State.SKIPPED, after(60 * first), after(60 * last), last - first + 1, "testing")
        self.database.executions.insert_one(executions.scheduled_document(self.job, row, row.last, "beat"))

    def close(self, reached: int) -> None:
        """End the epoch half a minute after a minute."""
        row = Row(State.CLOSED, after(60 * (reached + 1)), after(60 * reached + 30), 0)
        self.database.executions.insert_one(executions.scheduled_document(self.job, row, row.last, "beat"))


def ended(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as it is when its run has succeeded."""
    when = row["decided_at"]
    later = [
        {"number": number, "state": state, "at": when, "by": "worker", "reason": ""}
        for number, state in enumerate(("QUEUED", "RUNNING", "SUCCEEDED"), start=2)
    ]
    row = row | {"state": "SUCCEEDED", "finished_at": when, "transitions": [*row["transitions"], *later]}
    del row["open"], row["send_at"]
    return row


@dataclass
class Result:
    findings: list[pb.AuditFinding]
    progress: list[pb.AuditProgress]
    summary: pb.AuditSummary

    @property
    def kinds(self) -> list[str]:
        return [pb.AuditFinding.Kind.Name(finding.kind).removeprefix("KIND_") for finding in self.findings]


async def audit(server: Running, **fields: Any) -> Result:
    findings, progress, summary = [], [], []
    async for response in server.admin.Audit(pb.AuditRequest(**fields)):
        match response.WhichOneof("event"):
            case "finding":
                findings.append(response.finding)
            case "progress":
                progress.append(response.progress)
            case "summary":
                summary.append(response.summary)
    (only,) = summary
    return Result(findings, progress, only)


async def _findings(server: Running) -> list[tuple[pb.AuditFinding, str]]:
    found = await audit(server)
    return list(zip(found.findings, found.kinds, strict=True))


class TestReading:
    async def test_a_clean_ledger_is_told_in_figures(self, server: Running, database: Database[dict[str, Any]]) -> None:
        first, second = Ledger.of(database), Ledger.of(database, "job-2")
        first.runs(1, 5)
        first.gap(6, 9)
        first.close(9)
        first.history(1, Mode.PAUSED, after(9 * 60 + 30))
        second.runs(1, 3)
        found = await audit(server)
        assert found.findings == []
        summary = found.summary
        figures = (summary.jobs, summary.epochs, summary.rows, summary.occurrences, summary.executions)
        assert figures == (2, 3, 10, 12, 8)
        assert not summary.HasField("view_begins")
        assert dict(summary.findings) == {}
        assert (found.progress[-1].rows, found.progress[-1].jobs) == (10, 2)

    async def test_all_is_read_however_it_falls_into_pages(
        self, server: Running, database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reader, "ROWS", 3)
        monkeypatch.setattr(reader, "ENTRIES", 2)
        ledgers = [Ledger.of(database, f"job-{number}") for number in range(7)]
        for ledger in ledgers:
            for epoch in range(12):  # so that the tenth sorts between the first and the second
                ledger.runs(epoch * 2 + 1, epoch * 2 + 2)
                if epoch < 11:
                    ledger.close(epoch * 2 + 2)
                    ledger.history(epoch + 1, Mode.ACTIVE, after((epoch * 2 + 2) * 60 + 30))
        found = await audit(server)
        assert found.findings == []
        assert (found.summary.jobs, found.summary.epochs, found.summary.rows) == (7, 84, 7 * (24 + 11))
        gone = after(20 * 60)
        database.executions.delete_one({"job_id": "job-3", "nominal_time": gone, "state": "SUCCEEDED"})
        found = await audit(server)
        (finding,) = found.findings
        assert (finding.job_id, finding.first_time.ToDatetime(UTC), finding.count) == ("job-3", gone, 1)

    async def test_one_job_is_audited_alone_and_a_deleted_one_too(
        self, server: Running, database: Database[dict[str, Any]]
    ) -> None:
        for name in ("a", "a-b", "a0"):
            ledger = Ledger.of(database, name)
            ledger.runs(2, 3)
            ledger.close(3)
            ledger.history(1, Mode.DELETED, after(3 * 60 + 30))
        found = await audit(server, job_id="a")
        assert ([finding.job_id for finding in found.findings], found.summary.jobs) == (["a"], 1)
        assert {finding.job_id for finding in (await audit(server)).findings} == {"a", "a-b", "a0"}

    async def test_a_job_that_never_was_is_not_found(self, server: Running) -> None:
        refused = await refusal(audit(server, job_id="nobody"))
        assert (refused.code, refused.resource) == ("NOT_FOUND", ("job", "nobody"))

    async def test_what_is_wrong_with_the_question_is_said_at_once(self, server: Running) -> None:
        request = {"from_time": after(5), "to_time": after(1), "overdue_after": timedelta(days=400)}
        refused = await refusal(audit(server, **request))
        assert refused.code == "INVALID_ARGUMENT"
        assert [field for field, _ in refused.violations] == ["to_time", "overdue_after"]

    async def test_only_the_occurrences_of_the_range_are_judged(
        self, server: Running, database: Database[dict[str, Any]]
    ) -> None:
        ledger = Ledger.of(database)
        ledger.runs(1, 3)
        ledger.runs(5, 9)
        ledger.gap(11, 30)
        ledger.runs(32, 40)
        assert [finding.first_time.ToDatetime(UTC) for finding in (await audit(server)).findings] == [
            after(60 * minute) for minute in (4, 10, 31)
        ]
        found = await audit(server, from_time=after(60 * 5), to_time=after(60 * 20))
        (finding,) = found.findings
        assert finding.first_time.ToDatetime(UTC) == after(60 * 10)
        assert found.summary.rows == 6
        assert found.summary.view_begins.ToDatetime(UTC) < after(60 * 5)
        assert found.summary.view_ends.ToDatetime(UTC) == after(60 * 20)
        assert (await audit(server, from_time=after(60 * 11), to_time=after(60 * 30))).findings == []

    async def test_rows_and_schedules_that_cannot_be_read_are_said_and_the_rest_is_audited(
        self, server: Running, database: Database[dict[str, Any]]
    ) -> None:
        broken, strange, good = (Ledger.of(database, name) for name in ("broken", "strange", "good"))
        for ledger in (broken, strange, good):
            ledger.runs(1, 3)
        good.runs(5, 6)
        database.executions.update_one({"job_id": "broken"}, {"$set": {"state": "UPSIDE_DOWN"}})
        database.job_revisions.update_one({"job_uid": "uid-strange"}, {"$set": {"schedule.type": "moon"}})
        found = await audit(server)
        # What an unreadable row decides is not proved to be decided.
        assert [(finding.job_id, kind) for finding, kind in zip(found.findings, found.kinds, strict=True)] == [
            ("broken", "UNREADABLE"), ("broken", "MISSING"), ("good", "MISSING"), ("strange", "UNREADABLE"),
        ]  # fmt: skip

    @pytest.mark.parametrize("collection", ["jobs", "job_revisions", "executions"])
    async def test_whatever_was_changed_by_hand_the_rest_is_audited(
        self, server: Running, database: Database[dict[str, Any]], collection: str
    ) -> None:
        for name in ("broken", "good"):
            Ledger.of(database, name).runs(1, 3)
        Ledger.of(database, "missing").runs(1, 1)
        database.executions.insert_one(ended(fired(job_document("missing", every(60, anchor=LONG_AGO)), after(180))))
        before = [(each.job_id, kind) for each, kind in await _findings(server)]
        assert before == [("missing", "MISSING")]
        document = database[collection].find_one({"$or": [{"job_uid": "uid-broken"}, {"uid": "uid-broken"}]})
        assert document is not None
        for field in sorted(document.keys() - {"_id", "created_at"}):  # where the store takes no list
            for value in ({"by": "hand"}, [None], -7.5, "x", None):
                database[collection].update_one({"_id": document["_id"]}, {"$set": {field: value}})
                found = [(each.job_id, kind) for each, kind in await _findings(server)]
                assert ("missing", "MISSING") in found, (field, value)
                assert "good" not in [job_id for job_id, _ in found], (field, value)
                database[collection].replace_one({"_id": document["_id"]}, document)

    async def test_a_history_that_cannot_be_read_is_not_said_to_lack_what_the_rows_tell_of(
        self, server: Running, database: Database[dict[str, Any]]
    ) -> None:
        Ledger.of(database, "broken").runs(1, 3)
        database.job_revisions.update_one({"job_uid": "uid-broken"}, {"$set": {"epoch": "first"}})
        (found,) = await _findings(server)
        assert (found[0].job_id, found[1], found[0].execution_id) == ("broken", "UNREADABLE", "")

    async def test_an_old_schedule_is_computed_by_the_zone_rules_of_its_time(
        self, server: Running, database: Database[dict[str, Any]]
    ) -> None:
        """Here a place whose clocks were set to another zone's since: 08:00 there was not what it is by now."""
        zone, of_then = "Europe/Berlin", zone_data("Asia/Tokyo")
        rules = fingerprint(zone, of_then)
        Ledger.of(database)
        midnight = LONG_AGO.replace(hour=0, minute=0, second=0)
        database.job_revisions.update_many(
            {},
            {
                "$set": {
                    "began": midnight,
                    "schedule": {
                        "type": "cron", "config": {"hour": "8", "minute": "0"}, "timezone": zone, "hash_key": "",
                        "start_time": None, "end_time": None, "rules": rules,
                    },
                }
            },
        )  # fmt: skip
        # Eight in the morning by the clocks of Tokyo.
        row = ended(fired(job_document(), midnight + timedelta(hours=23)))
        database.executions.insert_one(row)
        assert (await audit(server)).kinds == ["UNREADABLE"]
        database.zone_rules.insert_one({"_id": rules, "zone": zone, "tzdata": "1.0", "tzif": of_then})
        found = await audit(server)
        assert (found.kinds, found.summary.occurrences) == ([], 1)

    async def test_rows_of_a_job_without_history_are_a_fault(
        self, server: Running, database: Database[dict[str, Any]]
    ) -> None:
        Ledger.of(database).runs(1, 2)
        database.job_revisions.delete_many({})
        assert (await audit(server)).kinds == ["NO_HISTORY", "NO_HISTORY"]

    async def test_a_job_that_follows_what_its_history_does_not_know_is_a_fault(
        self, server: Running, database: Database[dict[str, Any]]
    ) -> None:
        Ledger.of(database).runs(1, 2)
        database.jobs.update_many({}, {"$set": {"epoch": 1, "state": "ACTIVE"}})
        found = await audit(server)
        assert (found.kinds, found.findings[0].job_id) == (["NO_HISTORY"], "job-1")

    async def test_an_entry_that_is_written_while_the_history_is_read_is_not_missed(
        self, database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ledger = Ledger.of(database)
        ledger.runs(1, 2)
        entries = reader.Audit._entries

        def installs_meanwhile(self: reader.Audit, after: str, before: str | None) -> list[dict[str, Any]]:
            found = entries(self, after, before)
            ledger.close(2)
            ledger.history(1, Mode.ACTIVE, LONG_AGO + timedelta(minutes=2, seconds=30))
            ledger.runs(3, 4)
            return found

        monkeypatch.setattr(reader.Audit, "_entries", installs_meanwhile)
        audited = reader.Audit(database, reader.Question(None, None, "", timedelta(seconds=60)))
        assert [found for step in audited.steps() for found in step] == []
        assert (audited.counts.epochs, audited.counts.rows) == (2, 5)

    async def test_history_without_a_job_is_none(self, server: Running, database: Database[dict[str, Any]]) -> None:
        """A server that dies while it creates a job leaves that behind."""
        Ledger.of(database)
        database.jobs.update_many({}, {"$set": {"state": "ACTIVE"}})
        assert (await audit(server)).kinds == ["MISSING"]
        database.jobs.delete_many({})
        assert (await audit(server)).kinds == []


class TestOverdue:
    async def test_what_an_active_job_has_not_decided_for_long_is_missing(
        self, server: Running, database: Database[dict[str, Any]]
    ) -> None:
        Ledger.of(database).runs(1, 3)
        assert (await audit(server)).findings == [], "it is set aside"
        database.jobs.update_many({}, {"$set": {"state": "ACTIVE"}})
        (finding,) = (await audit(server)).findings
        assert finding.first_time.ToDatetime(UTC) == after(60 * 4)
        assert finding.count > 1400
        assert (await audit(server, overdue_after=timedelta(days=2))).findings == []

    async def test_a_change_that_waits_is_given_time_and_bounds_what_has_to_be_decided(
        self, server: Running, database: Database[dict[str, Any]]
    ) -> None:
        Ledger.of(database).runs(1, 3)
        database.jobs.update_many({}, {"$set": {"state": "PAUSED", "changes": [{"cutoff": after(60 * 5 + 1)}]}})
        (finding,) = (await audit(server)).findings
        assert (finding.first_time.ToDatetime(UTC), finding.count) == (after(60 * 4), 2)
        database.jobs.update_many({}, {"$set": {"changes.0.cutoff": datetime.now(UTC)}})
        assert (await audit(server)).findings == []

    async def test_a_job_that_was_changed_just_now_is_given_time(
        self, server: Running, database: Database[dict[str, Any]]
    ) -> None:
        Ledger.of(database).runs(1, 3)
        database.jobs.update_many({}, {"$set": {"state": "ACTIVE", "updated_at": datetime.now(UTC)}})
        assert (await audit(server)).findings == []


class TestView:
    async def test_history_that_was_cleaned_up_is_not_missing_and_it_says_where_the_view_begins(
        self, server: Running, database: Database[dict[str, Any]]
    ) -> None:
        ledger = Ledger.of(database)
        ledger.runs(1, 10)
        ledger.close(10)
        ledger.history(1, Mode.ACTIVE, after(10 * 60 + 30))
        ledger.runs(11, 20)
        ledger.runs(23, 24)
        database.jobs.update_many({}, {"$set": {"covered": after(60 * 24), "epoch": 1}})
        long_ago = timedelta(days=30)
        database.executions.update_many(
            {"nominal_time": {"$lte": after(60 * 15)}}, [{"$set": {"finished_at": datetime.now(UTC) - long_ago}}]
        )
        # The clocks of this test are a month apart; the removal's mark is what counts.
        request = maintenance_pb.CleanupOldExecutionRecordsRequest(older_than_days=20)
        assert (await server.maintenance.CleanupOldExecutionRecords(request)).deleted_count == 16
        found = await audit(server)
        mark = found.summary.removed_through.ToDatetime(UTC)
        assert abs(datetime.now(UTC) - timedelta(days=20) - mark) < timedelta(minutes=1)
        assert found.summary.view_begins.ToDatetime(UTC) == mark
        database.retention.update_one({}, {"$set": {"removed_through": after(60 * 15)}})
        (finding,) = (await audit(server)).findings
        assert (finding.first_time.ToDatetime(UTC), finding.count) == (after(60 * 21), 2)

    async def test_a_removal_is_noted_before_it_begins_and_never_taken_back(
        self, server: Running, database: Database[dict[str, Any]]
    ) -> None:
        for days in (10, 20):
            request = maintenance_pb.CleanupOldExecutionRecordsRequest(older_than_days=days)
            cutoff = (await server.maintenance.CleanupOldExecutionRecords(request)).cutoff_time.ToDatetime(UTC)
            if days == 10:
                newest = cutoff
        (mark,) = database.retention.find()
        assert mark["removed_through"] == newest

    async def test_rows_that_are_removed_while_they_are_read_are_not_missing(
        self, database: Database[dict[str, Any]]
    ) -> None:
        Ledger.of(database).runs(5, 8)
        audited = reader.Audit(database, reader.Question(None, None, "", timedelta(seconds=60)))
        database.retention.insert_one({"_id": "executions", "removed_through": after(60 * 4)})
        assert [found for step in audited.steps() for found in step] == []
        assert audited.view_begins == after(60 * 4)


class TestCost:
    async def test_rows_and_history_are_read_in_the_order_of_an_index(self, database: Database[dict[str, Any]]) -> None:
        Ledger.of(database).runs(1, 100)
        view = View(None, datetime.now(UTC))
        for name, chosen in (
            ("executions", store.rows_filter(*store.of_job("uid-job-1"), view, after(60 * 50))),
            ("executions", store.rows_filter("uid-job-1.0", None, view, None)),
            ("job_revisions", store.page_filter("", None)),
            ("jobs", store.jobs_filter(["uid-job-1"])),
        ):
            ordered = {"sort": {"_id": 1}} if name != "jobs" else {}
            command = {"find": name, "filter": chosen, "limit": 1000, **ordered}
            plan = str(database.command({"explain": command})["queryPlanner"]["winningPlan"])
            assert "IXSCAN" in plan
            assert "'SORT'" not in plan
            assert "COLLSCAN" not in plan

    async def test_other_calls_are_answered_while_an_audit_is_at_work(
        self, server: Running, database: Database[dict[str, Any]]
    ) -> None:
        Ledger.of(database).runs(1, 1200)
        stream = server.admin.Audit(pb.AuditRequest())
        assert (await stream.read()).progress.rows_expected == 1200
        await server.maintenance.HealthCheckServices(maintenance_pb.HealthCheckServicesRequest())
        events = []
        while (response := await stream.read()) is not grpc.aio.EOF:
            events.append(response.WhichOneof("event"))
        assert events[-1] == "summary"

    async def test_an_audit_ends_when_the_caller_goes_away(
        self, server: Running, database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Ledger.of(database).runs(1, 1200)
        monkeypatch.setattr(reader, "ROWS", 1)
        with structlog.testing.capture_logs() as lines:
            stream = server.admin.Audit(pb.AuditRequest())
            await stream.read()
            await stream.read()
            stream.cancel()
            async with asyncio.timeout(60):
                while not [line for line in lines if line["action"] == "request_answered"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        (line,) = [line for line in lines if line["action"] == "request_answered"]
        assert (line["method"], line["code"]) == ("/scheduler.v1.AdminService/Audit", "CANCELLED")
        assert not [line for line in lines if line["action"] == "audit_done"]


async def test_while_the_store_is_away_an_audit_is_unavailable() -> None:
    away = f"mongodb://{HOST}:{free_port()}/none?serverSelectionTimeoutMS=200"
    async with serving(away, prepared=False) as server:
        refused = await refusal(audit(server))
    assert (refused.code, refused.retry) == ("UNAVAILABLE", True)


# The command line


@dataclass
class Said:
    code: int
    out: str
    err: str


async def schedctl(*arguments: str, server: str = "", interrupt_after: str = "") -> Said:
    """Run the real command as a process; interrupt it (Ctrl-C) when it has said something."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli", *arguments,
        cwd=ROOT, env={**os.environ, "SCHEDCTL_SERVER": server},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    head = b""
    try:
        async with asyncio.timeout(120):
            if interrupt_after:
                assert process.stdout is not None
                head = await process.stdout.readuntil(interrupt_after.encode())
                process.send_signal(signal.SIGINT)
            out, err = await process.communicate()
    except BaseException:
        process.kill()
        await process.communicate()
        raise
    assert process.returncode is not None
    return Said(process.returncode, (head + out).decode(), err.decode())


class TestCommand:
    async def test_it_ends_with_0_when_all_is_well(self, server: Running, database: Database[dict[str, Any]]) -> None:
        Ledger.of(database).runs(1, 5)
        said = await schedctl("audit", server=server.address)
        assert (said.code, said.err) == (0, "")
        assert said.out.splitlines()[-1] == "no fault found"

    async def test_it_prints_each_fault_on_a_line_and_ends_with_1(
        self, server: Running, database: Database[dict[str, Any]]
    ) -> None:
        ledger = Ledger.of(database)
        ledger.runs(1, 3)
        run = ledger.runs(6, 9)[-1]
        database.executions.update_one({"_id": run}, {"$set": {"transitions.1.number": 7}})
        said = await schedctl("audit", "--job", "job-1", server=server.address)
        missing, illegal, *_, last = said.out.splitlines()
        assert said.code == 1
        assert missing.startswith(f"MISSING       job-1 {after(240):%Y-%m-%dT%H:%M:%SZ} to ")
        assert "(2 occurrences)" in missing
        assert illegal.startswith("ILLEGAL_PATH  job-1")
        assert illegal.endswith(f"{run}: transition 2 has the number 7")
        assert last == "found: 1 ILLEGAL_PATH, 1 MISSING"

    async def test_programs_get_json_one_object_a_line(
        self, server: Running, database: Database[dict[str, Any]]
    ) -> None:
        ledger = Ledger.of(database)
        ledger.runs(1, 3)
        ledger.runs(6, 9)
        since, until = f"{after(60 * 5):%Y-%m-%dT%H:%M:%S}", after(60 * 8).isoformat()
        said = await schedctl("audit", "--json", "--from", since, "--to", until, server=server.address)
        finding, summary = (json.loads(line) for line in said.out.splitlines())
        assert said.code == 1
        assert (finding["finding"]["kind"], finding["finding"]["count"]) == ("KIND_MISSING", "1")
        assert (summary["summary"]["findings"], summary["summary"]["rows"]) == ({"MISSING": "1"}, "3")

    async def test_a_server_that_is_away_is_one_sentence(self) -> None:
        address = f"{HOST}:{free_port()}"
        said = await schedctl("audit", server=address)
        assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)
        assert address in said.err

    async def test_what_the_server_refuses_is_one_sentence(self, server: Running) -> None:
        said = await schedctl("audit", "--job", "nobody", server=server.address)
        assert (said.code, said.out, said.err) == (3, "", "NOT_FOUND: there is no job 'nobody'\n")
        said = await schedctl("audit", "--from", "yesterday", server=server.address)
        assert (said.code, "'yesterday' is not a time" in said.err) == (2, True)

    async def test_ctrl_c_ends_it_with_130(
        self, server: Running, database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Ledger.of(database).runs(3, 9)
        steps, interrupted = reader.Audit.steps, Event()

        def endless(self: reader.Audit) -> Iterator[list[reader.Found]]:
            yield from steps(self)
            while not interrupted.wait(0.05):
                yield []

        monkeypatch.setattr(reader.Audit, "steps", endless)
        said = await schedctl("audit", server=server.address, interrupt_after="MISSING")
        interrupted.set()
        assert (said.code, "Traceback" in said.err) == (130, False)

    async def test_on_a_terminal_it_shows_how_far_it_has_got(
        self, server: Running, database: Database[dict[str, Any]]
    ) -> None:
        ledger = Ledger.of(database)
        ledger.runs(1, 1100)
        ledger.runs(1102, 1150)
        parent, child = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli", "audit", cwd=ROOT, stdin=child, stdout=child, stderr=child,
            env={**os.environ, "SCHEDCTL_SERVER": server.address, "TERM": "xterm", "COLUMNS": "200"},
        )  # fmt: skip
        os.close(child)
        shown = await asyncio.to_thread(read_to_the_end, parent)
        assert await process.wait() == 1
        assert re.search(r"rows .*━.* \d+/1149", shown)
        assert "MISSING       job-1" in shown
        assert "found: 1 MISSING" in shown


def read_to_the_end(terminal: int) -> str:
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal says that the other side is gone
        while part := os.read(terminal, 65536):
            shown += part
    os.close(terminal)
    return shown.decode(errors="replace")
