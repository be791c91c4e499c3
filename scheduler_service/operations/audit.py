"""The audit's reader: the history and the ledger from beginning to end, a page at a time, in bounded memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from scheduler_service.transport.refusals import NoSuch
from scheduler_service.transport.unreadable import UNREADABLE
from shared.domain.audit import Entry, Epoch, Fault, Finding, JobAudit, View, epochs_of, within_history
from shared.domain.job import JobState
from shared.domain.plan import Mode
from shared.store import audit as store
from shared.store import executions, jobs, retention, zone_rules
from shared.store.mongo import database_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pymongo.database import Database


Document: TypeAlias = "dict[str, Any]"

ENTRIES: Final = 500
"""Entries of the history that are read in one go; the rows of their jobs are read after them."""
ROWS: Final = 1_000
"""Rows that are read, and judged, in one go: some 50 ms of work, after which the caller hears of it."""

_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be audited. since and until: which occurrences; overdue_after: see AuditRequest."""

    since: datetime | None
    until: datetime | None
    job_id: str
    overdue_after: timedelta


@dataclass(slots=True)
class Counts:
    """How far an audit has got."""

    rows_expected: int = 0
    jobs_expected: int = 0
    jobs: int = 0
    epochs: int = 0
    rows: int = 0
    occurrences: int = 0
    executions: int = 0
    findings: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Found:
    """A finding, and whose."""

    job_id: str
    finding: Finding


class Audit:
    """One audit. steps() does the work; the attributes tell of it at any time."""

    def __init__(self, database: Database[Document], question: Question) -> None:
        """Read where to begin. Raises NoSuch for a job that never was, and PyMongoError."""
        self._database = database
        self._executions = database[executions.COLLECTION]
        self._jobs = database[jobs.COLLECTION]
        self._revisions = database[jobs.REVISIONS]
        self._zone_rules = database[zone_rules.COLLECTION]
        self._question = question
        self._uid: str | None = None
        if question.job_id:
            job = self._jobs.find_one({"_id": question.job_id}, {"uid": 1})
            if job is None:
                raise NoSuch("job", question.job_id)
            self._uid = job["uid"]
        self.now = database_time(self._database)
        self.removed_through = self._removed_through()
        begins = self.removed_through
        if question.since is not None:
            since = question.since - _MILLISECOND
            begins = since if begins is None else max(begins, since)
        self.view = View(begins, self.now if question.until is None else min(question.until, self.now))
        self.counts = Counts()
        if self._uid is None:
            self.counts.rows_expected = self._executions.estimated_document_count()
            self.counts.jobs_expected = self._jobs.estimated_document_count()
        else:
            self.counts.rows_expected = self._executions.count_documents(store.page_filter(*store.of_job(self._uid)))
            self.counts.jobs_expected = 1

    @property
    def view_begins(self) -> datetime | None:
        """The instant through which nothing is reported as missing."""
        limits = [limit for limit in (self.view.begins, self.removed_through) if limit is not None]
        return max(limits, default=None)

    def steps(self) -> Iterator[list[Found]]:
        """Work, and yield after each bounded piece of work what was found in it. Raises PyMongoError.

        A job's history is read first, then where it stands, then its rows: what is inserted meanwhile is not missed,
        and what the history does not know yet can be told from what it never knew.
        """
        after, before = ("", None) if self._uid is None else store.of_job(self._uid)
        while True:
            read_at = database_time(self._database)
            entries = self._entries(after, before)
            by_job: dict[str, list[Document]] = {}
            for entry in entries:
                by_job.setdefault(store.uid_of(entry["_id"]), []).append(entry)
            found = self._jobs.find(store.jobs_filter(by_job), store.JOB_FIELDS)
            standing = {job["uid"]: job for job in found if isinstance(job["uid"], str)}
            for uid, job in standing.items():
                if (_epoch_of(job) or 0) >= len(by_job[uid]):
                    # Its entry was written since, or never.
                    by_job[uid] = self._with_rules(
                        self._revisions.find(store.page_filter(*store.of_job(uid)), sort=store.BY_ID).to_list()
                    )
            through = store.of_job(store.uid_of(entries[-1]["_id"]))[1] if len(entries) >= ENTRIES else before
            yield from self._judge(by_job, standing, (after, through), read_at)
            if through == before:
                return
            after = through or ""

    def _entries(self, after: str, before: str | None) -> list[Document]:
        """Return the next entries of the history: some, but all of those of each job."""
        found = self._revisions.find(store.page_filter(after, before), sort=store.BY_ID, limit=ENTRIES)
        entries = found.to_list()
        if len(entries) == ENTRIES:
            last = entries[-1]["_id"]
            rest = store.page_filter(last, store.of_job(store.uid_of(last))[1])
            entries += self._revisions.find(rest, sort=store.BY_ID).to_list()
        return self._with_rules(entries)

    def _with_rules(self, entries: list[Document]) -> list[Document]:
        """Make known the zone rules that these schedules were made under, which they are computed by."""
        zone_rules.load(self._zone_rules, entries)
        return entries

    def _judge(
        self,
        histories: Mapping[str, list[Document]],
        standing: Mapping[str, Document],
        bounds: tuple[str, str | None],
        read_at: datetime,
    ) -> Iterator[list[Found]]:
        """Judge the jobs of these histories, whose rows are all those with ids in the bounds."""
        waiting = dict(histories)
        present: _Present | None = None
        for page in self._pages(*bounds):
            found: list[Found] = []
            for document in page:
                uid = store.uid_of(document["_id"])
                if present is None or present.uid != uid:
                    if present is not None:
                        found += self._finish(present)
                    present = self._begin(uid, waiting.pop(uid, []), standing.get(uid), read_at)
                    present.job_id = str(document.get("job_id", present.job_id))
                found += self._take(present, document)
            yield self._kept(found)
        found = [] if present is None else self._finish(present)
        for uid, entries in waiting.items():
            if (job := standing.get(uid)) is not None:  # else its creation broke off between history and job
                found += self._finish(self._begin(uid, entries, job, read_at))
        yield self._kept(found)

    def _pages(self, after: str, before: str | None) -> Iterator[list[Document]]:
        # A query a page: no cursor stays open while the caller takes its time.
        while True:
            chosen = store.rows_filter(after, before, self.view, self._question.since)
            page = self._executions.find(chosen, store.ROW_FIELDS, sort=store.BY_ID, limit=ROWS).to_list()
            if page:
                yield page
            if len(page) < ROWS:
                return
            after = page[-1]["_id"]

    def _begin(self, uid: str, entries: list[Document], job: Document | None, read_at: datetime) -> _Present:
        due_through, settled, found, epochs, known = None, False, list[Finding](), list[Epoch](), True
        try:
            epochs = list(epochs_of([_entry(entry) for entry in entries]))
        except UNREADABLE as error:
            found.append(_unreadable("its history", error))
            known = False
        present, newest = None if job is None else _epoch_of(job), epochs[-1].number if epochs else -1
        if job is not None and present == newest:
            try:
                due_through, settled = self._due_through(job, epochs[-1]), not job["changes"]
            except UNREADABLE as error:
                found.append(_unreadable("the job", error))
        elif job is not None and (present is None or present > newest):
            said = f"the job is at epoch {present}, and the history has no entry for that"
            found.append(Finding(Fault.NO_HISTORY, said))
        self.counts.epochs += len(epochs)
        judge = JobAudit(uid, epochs, self.view, due_through=due_through, read_at=read_at, settled=settled)
        return _Present(uid, job["_id"] if job is not None else "", judge, found, known)

    def _due_through(self, job: Document, newest: Epoch) -> datetime | None:
        """Return until when a job's occurrences have to be decided by now; None when none has to be, for the moment."""
        patience = self.now - self._question.overdue_after
        if newest.spec is None or job["updated_at"] > patience:
            return None
        if job["changes"]:
            cutoff: datetime = job["changes"][0]["cutoff"]
            # Its installing decides all through the cutoff, whatever state the job was in.
            return min(cutoff, patience) if cutoff <= patience else None
        active = newest.spec.mode is Mode.ACTIVE and job["state"] != JobState.ERROR.value
        return patience if active else None

    def _take(self, present: _Present, document: Document) -> list[Found]:
        self.counts.rows += 1
        try:
            row = store.to_ledger_row(document)
        except UNREADABLE as error:
            return self._found(present, [_unreadable("the row", error, str(document["_id"]))])
        self.counts.executions += row.run is True
        if row.epoch is not None and row.run is not None:
            self.counts.occurrences += row.count
        return self._found(present, present.judge.take(row))

    def _finish(self, present: _Present) -> list[Found]:
        self.counts.jobs += bool(present.job_id)  # what code asks for on its own has none
        return self._found(present, [*present.found, *present.judge.finish()])

    def _found(self, present: _Present, findings: list[Finding]) -> list[Found]:
        return [
            Found(present.job_id, finding)
            for finding in findings
            if present.known or finding.fault is not Fault.NO_HISTORY
        ]

    def _kept(self, found: list[Found]) -> list[Found]:
        """Return the findings that stand, and count them: rows may have been cleaned up while they were read."""
        if any(each.finding.fault in {Fault.MISSING, Fault.BROKEN_CHAIN} for each in found):
            self.removed_through = self._removed_through()
        kept = [each for each in found if within_history([each.finding], self.removed_through)]
        self.counts.findings.update(each.finding.fault.value for each in kept)
        return kept

    def _removed_through(self) -> datetime | None:
        return retention.removed_through(self._database[retention.COLLECTION].find_one(retention.EXECUTIONS_FILTER))


@dataclass(slots=True)
class _Present:
    """The job that is being judged."""

    uid: str
    job_id: str
    judge: JobAudit
    found: list[Finding]
    """What is wrong with the job itself."""
    known: bool
    """Whether its history can be read: else nobody can say what it lacks."""


def _epoch_of(job: Document) -> int | None:
    epoch = job.get("epoch")
    return epoch if isinstance(epoch, int) else None


def _unreadable(what: str, error: Exception, execution_id: str = "") -> Finding:
    return Finding(Fault.UNREADABLE, f"{what} cannot be read: {type(error).__name__}: {error}", execution_id)


def _entry(document: Mapping[str, Any]) -> Entry:
    """Read an entry of the history. Raises one of UNREADABLE if it does not even say which epoch began when."""
    number, began, fired = document["epoch"], document["began"], document.get("fired", 0)
    if not (isinstance(number, int) and isinstance(began, datetime) and isinstance(fired, int)):
        raise TypeError(f"epoch {number!r} began at {began!r} after {fired!r} runs")
    try:
        return Entry(number, began, jobs.to_spec(document), fired=fired)
    except UNREADABLE as error:
        return Entry(number, began, None, f"{type(error).__name__}: {error}", fired)
