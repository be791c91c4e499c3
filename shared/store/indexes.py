"""Every index, and which question it answers. Created at start by whoever comes first; again changes nothing."""

from __future__ import annotations

from typing import Any, Final

from pymongo import ASCENDING, DESCENDING, IndexModel

from shared.store import (
    backfills,
    calls,
    canvas,
    executions,
    jobs,
    listing,
    partitions,
    parts,
    processes,
    rate_limits,
    requests,
    rollups,
    tail,
)


def _where(**conditions: Any) -> dict[str, Any]:
    return {"partialFilterExpression": conditions}


def _marked(mark: str, **rows: Any) -> dict[str, Any]:
    """Return the condition of an index of the rows that have a mark, which only these rows may have.

    MongoDB asks each condition of each index when a row is stored or changes, and finds that a mark is missing by going
    through the whole row. It asks for what has to be equal first, and these rows are told by a field near the front.
    That field is among the keys only where something is counted by keys alone: without it the rows would be read.
    """
    return _where(**rows, **{mark: {"$exists": True}})


def _newer(schema: int) -> str:
    """Return the name of the index of what has a newer schema: each release has one of its own, with nothing in it."""
    return f"newer_than_{schema}"


_NEWEST: Final = (("created_at", DESCENDING), ("_id", DESCENDING))

BUILD_PATIENCE: Final = 3600.0
"""Seconds: on a large collection a new index takes minutes. Shorter, and its creation is begun again and again."""

INDEXES: Final[dict[str, list[IndexModel]]] = {
    jobs.COLLECTION: [
        # beat: what is due; lists: what fires next. Holds only jobs that will wake, so that its size and cost follow
        # from those.
        IndexModel(
            [("partition", ASCENDING), ("wake_at", ASCENDING), ("_id", ASCENDING)],
            name="wake_time",
            **_where(wake_at={"$type": "date"}),
        ),
        # beat: what only a newer one can plan
        IndexModel([("schema", ASCENDING)], name=_newer(jobs.SCHEMA), **_where(schema={"$gt": jobs.SCHEMA})),
        # ids of executions are made from it, so two jobs may never share one
        IndexModel([("uid", ASCENDING)], name="uid", unique=True),
        # consequences: what is done and is to be deleted
        IndexModel([("partition", ASCENDING)], name="done", **_where(**jobs.DONE)),
        # lists: the newest first, of all and of those that a filter names. None of these changes when a job fires.
        IndexModel([*_NEWEST], name="created"),
        IndexModel([("state", ASCENDING), *_NEWEST], name="job_state"),
        IndexModel([("job_type", ASCENDING), *_NEWEST], name="job_type"),
        IndexModel([("target_service", ASCENDING), *_NEWEST], name="target_service"),  # targets: which jobs call one
        IndexModel([("queue", ASCENDING), *_NEWEST], name="queue"),
        IndexModel([("labels.key", ASCENDING), ("labels.value", ASCENDING), *_NEWEST], name="labels"),
        # lists: what has a label, whatever its value
        IndexModel([("labels.key", ASCENDING), *_NEWEST], name="label_keys"),
        # lists: by name
        IndexModel([("name", ASCENDING), ("_id", ASCENDING)], name="name"),
        # beat: which zone rules are followed, and by which jobs
        IndexModel([(jobs.RULES, ASCENDING), (jobs.TZDATA, ASCENDING), ("state", ASCENDING)], name="zone_rules"),
        # beat: which days of calendars are left out, and by which jobs
        IndexModel(
            [(jobs.DAYS_SOURCE, ASCENDING), ("state", ASCENDING)], name="calendars", **_where(**jobs.HAS_NAMED_DAYS)
        ),
        # targets: whose flows call one; and which flows are from before this was kept
        IndexModel([(calls.FLOW_TARGETS, ASCENDING)], name="flow_targets", **_where(**calls.IS_FLOW)),
        # drift: what calls a target and has not been held against its present contract
        IndexModel(
            [("target_service", ASCENDING), ("_id", ASCENDING)], name="unchecked", **_where(**calls.IS_UNCHECKED)
        ),
        # drift: the same of flows
        IndexModel(
            [(calls.FLOW_TARGETS, ASCENDING), ("_id", ASCENDING)],
            name="unchecked_flows",
            **_where(**calls.IS_UNCHECKED),
        ),
        # drift: what does not fit, the longest known first
        IndexModel([("drift.since", ASCENDING)], name="drift", **_where(**calls.HAS_DRIFT)),
        # beat: what it manages by its configuration
        IndexModel([(jobs.MANAGED_BY, ASCENDING)], name="managed", **_where(**jobs.IS_MANAGED)),
        # watchers: which jobs have changed since
        tail.INDEX,
    ],
    executions.COLLECTION: [
        # relay: what has to be sent now
        IndexModel(
            [("partition", ASCENDING), ("send_at", ASCENDING)], name="send", **_where(send_at={"$type": "date"})
        ),
        # rescue: whose lease has ended
        IndexModel(
            [("lease.expires_at", ASCENDING)],
            name="running_lease",
            **_where(state="RUNNING", **{"lease.expires_at": {"$type": "date"}}),
        ),
        # overlap: is an execution of this job in flight; deletion: what to cancel
        IndexModel([("job_uid", ASCENDING)], name="open", **_where(open=True)),
        # relay: what should wait in this queue
        IndexModel(
            [("queue", ASCENDING), ("queued_at", ASCENDING)], name="waiting", **_where(open=True, state="QUEUED")
        ),
        # relay: what waits for others of its job to end
        IndexModel([("job_uid", ASCENDING)], name="held", **_where(held=True)),
        # consequences: failures that may pause their job
        IndexModel([("may_pause", ASCENDING)], name="failed_may_pause", **_marked("may_pause", state="FAILED")),
        # dead letters that have not been sent yet
        IndexModel([("dead_letter", ASCENDING)], name="failed_dead_letter", **_marked("dead_letter", state="FAILED")),
        # dead letters that nobody has decided about, the latest first; how many. That is told by the keys alone.
        IndexModel(
            [("state", ASCENDING), ("letter", ASCENDING), ("finished_at", DESCENDING), ("_id", DESCENDING)],
            name="failed_letter",
            **_marked("letter", state="FAILED"),
        ),
        # those of one job
        IndexModel(
            [("job_uid", ASCENDING), ("finished_at", DESCENDING), ("_id", DESCENDING)],
            name="failed_job_letter",
            **_marked("letter", state="FAILED"),
        ),
        # dead letters whose copy has to be removed
        IndexModel([("withdraw", ASCENDING)], name="failed_withdraw", **_marked("withdraw", state="FAILED")),
        # lists of one job
        IndexModel(
            [("job_uid", ASCENDING), ("run", ASCENDING), ("nominal_time", DESCENDING), ("_id", DESCENDING)], name="job"
        ),
        # status: what of one job is in flight, which has no end, and what has ended since the roll-ups were made
        IndexModel(
            [("job_uid", ASCENDING), ("run", ASCENDING), ("finished_at", ASCENDING)],
            name="job_end",
            **_where(**executions.RUN_OR_DECISION),
        ),
        # lists of all
        IndexModel([("run", ASCENDING), ("nominal_time", DESCENDING), ("_id", DESCENDING)], name="nominal_time"),
        # lists of what has not ended, of what ended badly, and of what no schedule fired. Each holds few: what a
        # schedule fires and succeeds enters and leaves the first one, and is in none of the others.
        IndexModel(
            [("run", ASCENDING), ("open", ASCENDING), ("nominal_time", DESCENDING), ("_id", DESCENDING)],
            name="open_time",
            **_where(**listing.OPEN_RUN),
        ),
        IndexModel(
            [("run", ASCENDING), ("state", ASCENDING), ("nominal_time", DESCENDING), ("_id", DESCENDING)],
            name="ended_badly",
            **_where(**listing.ENDED_BADLY),
        ),
        IndexModel(
            [("run", ASCENDING), ("trigger", ASCENDING), ("nominal_time", DESCENDING), ("_id", DESCENDING)],
            name="trigger",
            **_where(**listing.RARELY_TRIGGERED),
        ),
        # lists of the members of a group
        IndexModel(
            [("group", ASCENDING), ("nominal_time", DESCENDING), ("_id", DESCENDING)],
            name="group_time",
            **_where(**listing.IN_GROUP),
        ),
        # advance: parts whose parents have not been told that they have ended
        IndexModel([("settle", ASCENDING)], name="part_settle", **_marked("settle", trigger="PART")),
        # advance: what waits for its parts and has to be looked at
        IndexModel(
            [("advance_at", ASCENDING)],
            name="waiting_advance",
            **_where(state="WAITING", advance_at={"$type": "date"}),
        ),
        # advance: the parts of one execution, those that wait for a slot, and how many are in which state
        IndexModel(
            [
                ("trigger", ASCENDING),
                ("parent", ASCENDING),
                ("state", ASCENDING),
                ("held", ASCENDING),
                ("number", ASCENDING),
            ],
            name=parts.PARENT_INDEX,
            **_marked("parent", trigger="PART"),
        ),
        # lists of the parts of one execution
        IndexModel(
            [("trigger", ASCENDING), ("parent", ASCENDING), ("nominal_time", DESCENDING), ("_id", DESCENDING)],
            name="parts_time",
            **_marked("parent", trigger="PART"),
        ),
        # lists of the items of a job's fan-outs that are known by one key
        IndexModel(
            [
                *(("trigger", ASCENDING), ("job_uid", ASCENDING), ("part_key", ASCENDING)),
                *(("nominal_time", DESCENDING), ("_id", DESCENDING)),
            ],
            name="part_key_time",
            **_marked("part_key", trigger="PART"),
        ),
        # expire: what was not started in time
        IndexModel(
            [("partition", ASCENDING), ("expires_at", ASCENDING)],
            name="expires",
            **_where(open=True, expires_at={"$type": "date"}),
        ),
        # retries: is an execution being retried already
        IndexModel([("retry_of", ASCENDING)], name="open_retry", **_marked("retry_of", open=True, trigger="RETRY")),
        # copies: what has ended without a copy of its outcome in Redis
        IndexModel([("uncopied", ASCENDING)], name="call_uncopied", **_marked("uncopied", trigger="API")),
        # follow: what has ended that something may follow
        IndexModel([("follow", ASCENDING)], name="follow", **_where(follow=True)),
        # follow: the members of a group
        IndexModel(
            [("group", ASCENDING), ("group_index", ASCENDING)], name="group", **_where(group={"$type": "string"})
        ),
        # backfills: how many of one are in which state
        IndexModel(
            [("backfill", ASCENDING), ("state", ASCENDING)], name="backfill", **_where(backfill={"$exists": True})
        ),
        # backfills: what has run for an occurrence that was moved
        IndexModel(
            [("job_uid", ASCENDING), ("moved_from", ASCENDING)], name="moved", **_where(moved_from={"$exists": True})
        ),
        # cleanup; lists of what ended in a stretch of time
        IndexModel(
            [("finished_at", DESCENDING), ("_id", DESCENDING)],
            name="finished_at",
            **_where(finished_at={"$type": "date"}),
        ),
        # watchers: which rows have changed since
        tail.INDEX,
    ],
    backfills.COLLECTION: [
        # beat: what there is something to do with
        IndexModel([("partition", ASCENDING), ("_id", ASCENDING)], name="active", **_where(active=True)),
        # lists: the newest first, of all and of one job
        IndexModel([("created_at", DESCENDING), ("_id", DESCENDING)], name="created"),
        IndexModel([("job_uid", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)], name="job"),
        # cleanup
        IndexModel([("finished_at", ASCENDING)], name="finished", **_where(finished_at={"$type": "date"})),
    ],
    # what was handed out long ago
    rate_limits.COLLECTION: [IndexModel([("expires_at", ASCENDING)], name="expires", expireAfterSeconds=0)],
    # beat: what this one holds
    partitions.PARTITION_COLLECTION: [IndexModel([("holder", ASCENDING)], name="holder")],
    # request ids: those of more than a day ago
    requests.COLLECTION: [
        IndexModel([("at", ASCENDING)], name="at", expireAfterSeconds=int(requests.KEPT.total_seconds())),
    ],
    canvas.GROUPS: [
        IndexModel([("at", ASCENDING)], name="at", expireAfterSeconds=int(canvas.KEPT.total_seconds())),
    ],
    # processes that did not say that they end; roles that nobody has had for long
    processes.COLLECTION: [
        IndexModel([("expires_at", ASCENDING)], name="expires", expireAfterSeconds=0),
        # which ones are alive
        IndexModel([("heard_at", ASCENDING)], name="heard"),
    ],
    processes.PRESENCE: [IndexModel([("expires_at", ASCENDING)], name="expires", expireAfterSeconds=0)],
    rollups.COLLECTION: [
        # statistics of all jobs together; rollup: an hour's minutes, a day's hours
        IndexModel([("level", ASCENDING), ("by", ASCENDING), ("at", ASCENDING)], name="level"),
        # statistics of one job
        IndexModel(
            [("job", ASCENDING), ("level", ASCENDING), ("at", ASCENDING)],
            name=rollups.JOB_INDEX,
            **_where(by=rollups.By.JOB.value),
        ),
    ],
    jobs.REVISIONS: [
        IndexModel([("job_uid", ASCENDING), ("epoch", ASCENDING)], name="job"),
        # explain: which epoch an instant belongs to
        IndexModel([("job_uid", ASCENDING), ("began", DESCENDING), ("epoch", DESCENDING)], name="began"),
    ],
}

OBSOLETE: Final[dict[str, list[str]]] = {
    jobs.COLLECTION: ["wake", *map(_newer, range(jobs.SCHEMA))],
    executions.COLLECTION: [
        "finished",
        *("lease", "may_pause", "dead_letter", "letter", "job_letter", "withdraw"),
        *("settle", "advance", "retry", "uncopied", "parent", "parts", "part_key"),
    ],
}
"""Indexes of earlier releases, by name, whose question another one answers now. Dropped when that is there; a process
of an earlier release that starts later makes them again, which costs space only. One that runs on meanwhile asks its
questions without them, and scans: the changelog says to stop such processes first."""
