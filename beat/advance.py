"""Advance: start the parts of fan-outs and workflows when it is their turn, and end the whole when all have ended."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import PyMongoError

from beat.insert import insert_missing
from shared import metrics
from shared.domain.errors import FailedPrecondition, SchedulerError
from shared.domain.execution import State, part_id
from shared.domain.flow import FanOut, fan_out_ending, next_steps, workflow_ending
from shared.flow_expressions import condition_of, mentions_results, steps_taken_from
from shared.log import get_logger
from shared.store import executions, parts
from shared.store.flows import to_flow
from shared.store.mongo import in_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pymongo.database import Database

    from beat.partitions import Partitions
    from beat.relay import HandOver
    from shared.domain.flow import Ending, Next, Step, Workflow

log = get_logger()

BATCH: Final = 100
"""Wholes looked at in one go."""
ENDED: Final = 1_000
"""Parts whose ends are told to their parents in one go."""
ITEMS: Final = 500
"""Items whose rows are inserted in one go; what else there is to do waits so long, some 100 ms."""
LARGEST_CONTEXT: Final = 4 * 1024 * 1024
"""Bytes of JSON that a step may take from earlier ones."""


class Advance:
    """One duty of beat. Any number may run at once, on the same executions too: what each inserts has one id."""

    def __init__(
        self,
        database: Database[dict[str, Any]],
        partitions: Partitions,
        hand_over: HandOver,
        by: str,
    ) -> None:
        self._client = database.client
        self._executions = database[executions.COLLECTION]
        self._partitions = partitions
        self._hand_over = hand_over
        self._by = by

    def run_once(self) -> bool:
        """Tell parents what has ended, and look at those that have to be; return whether there were any."""
        held = self._partitions.held
        if not held:
            return False
        # A count of parts that is older than the whole would have it rest although the last part has told it.
        with in_order(self._client):
            return self._advance_those_of(held)

    def _advance_those_of(self, held: frozenset[int]) -> bool:
        told = self._tell_parents(held)
        chosen = parts.advance_filter(held)
        found = list(
            self._executions.find(chosen, {**parts.WHOLE_FIELDS, "now": "$$NOW"}).sort("advance_at", 1).limit(BATCH)
        )
        for whole in found:
            try:
                self._advance(whole)
            except PyMongoError:
                raise
            except Exception as error:  # one that can't be read must not keep the others from going on
                metrics.BEAT_ADVANCE_FAILURES.inc()
                log.exception("an execution cannot be advanced", action="advance_failed", execution_id=whole["_id"])
                self._do(parts.park_parts(whole, self._by))
                self._do(parts.park_whole(whole, self._by, f"the execution's document can't be read: {error!r}"))
        return bool(told or found)

    def _tell_parents(self, held: frozenset[int]) -> int:
        ended = list(self._executions.find(parts.settled_filter(held), {"parent": 1}).limit(ENDED))
        if ended:
            # In this order: after a crash in between the parents are told once more.
            self._do(parts.signal({row["parent"] for row in ended if isinstance(row.get("parent"), str)}))
            self._do(parts.told([row["_id"] for row in ended]))
        return len(ended)

    def _advance(self, whole: Mapping[str, Any]) -> None:
        flow = to_flow(whole["flow"])
        if "cancel" in whole:
            # At each look: the last one of a fan-out that was stopped while it got its rows is behind them all.
            self._do(parts.stop_parts(whole, self._by))
        if isinstance(flow, FanOut):
            self._advance_fan_out(whole, flow)
        else:
            self._advance_workflow(whole, flow)

    # Fan-outs:

    def _advance_fan_out(self, whole: Mapping[str, Any], fan_out: FanOut) -> None:
        stopped = "cancel" in whole
        if whole["expanded"] < whole["total"]:
            self._expand(whole, fan_out)
            return
        counts: Counter[State] = Counter()
        waiting = 0
        for group in self._executions.aggregate(parts.counts_pipeline(whole["_id"])):
            counts[State(group["_id"]["state"])] += group["count"]
            waiting += group["count"] if group["_id"]["held"] else 0
        if waiting and not stopped:
            self._give_slots(whole["_id"], fan_out.max_parallel)
        carried = whole["carried"].get("succeeded", 0)
        counts[State.SUCCEEDED] += carried
        ending = fan_out_ending(fan_out, counts, whole["total"] + carried, stopped=stopped)
        if ending is not None and not stopped and self._is_stopped(whole.get("parent")):
            self._look_again(whole)  # its items were cancelled with its workflow, perhaps: the look at that stops it
            return
        states = {state.value: count for state, count in counts.items() if count}
        ended = {state.lower(): counts[state] for state in (State.SUCCEEDED, State.FAILED, State.CANCELLED)}
        result = {"total": whole["total"] + carried, **ended}
        self._conclude(whole, ending, states, result)

    def _is_stopped(self, whole_id: object) -> bool:
        if not isinstance(whole_id, str):
            return False
        return self._executions.find_one({"_id": whole_id, **parts.STOPPED}, {"_id": 1}) is not None

    def _expand(self, whole: Mapping[str, Any], fan_out: FanOut) -> None:
        """Insert the rows of the next items. After a crash in between they are inserted again, and are there."""
        begin = whole["expanded"]
        stored = self._executions.find_one({"_id": whole["_id"], "expanded": begin}, {"items": 1})
        if stored is None:
            return  # another beat has been faster
        items = json.loads(stored["items"])[begin : begin + ITEMS]
        if "cancel" in whole:
            documents = [parts.stopped_item_document(whole, item, self._by) for item in items]
        else:
            documents = [
                parts.item_document(whole, item, self._by, held=0 < fan_out.max_parallel <= place)
                for place, item in enumerate(items, start=begin)
            ]
        self._start(documents)
        self._do(parts.expanded(whole, begin + len(items)))

    def _give_slots(self, parent_id: str, slots: int) -> None:
        first = self._executions.find(parts.open_filter(parent_id), parts.SLOT_FIELDS, hint=parts.PARENT_INDEX).sort(
            parts.BY_NUMBER
        )
        rows = [row for row in first.limit(slots) if "held" in row]
        if rows:
            self._do(parts.give_slots([row["_id"] for row in rows]))
            self._hand_over(rows)

    # Workflows:

    def _advance_workflow(self, whole: Mapping[str, Any], workflow: Workflow) -> None:
        stopped = f"the workflow was stopped by {whole['cancel']['by']}" if "cancel" in whole else ""
        carried: Mapping[str, str] = whole["carried"].get("steps", {})
        ids = {step.name: carried.get(step.name) or part_id(whole["_id"], step.name) for step in workflow.steps}
        states = dict.fromkeys(carried, State.SUCCEEDED)
        for row in self._executions.find(parts.parts_filter(whole["_id"]), parts.STEP_FIELDS):
            states[row["part_name"]] = State(row["state"])
        while turns := next_steps(workflow, states, stopped=stopped):
            documents = [self._step(whole, workflow, turn, ids) for turn in turns]
            if self._start(documents) < len(documents):
                self._look_again(whole)  # another beat was faster, and may have decided otherwise: it sees what
                return
            states |= {document["part_name"]: State(document["state"]) for document in documents}
        ending = workflow_ending(workflow, states, stopped=bool(stopped))
        counts = Counter(state.value for state in states.values())
        steps = {name: {"state": state.value, "execution_id": ids[name]} for name, state in states.items()}
        self._conclude(whole, ending, counts, {"steps": steps})

    def _step(self, whole: Mapping[str, Any], workflow: Workflow, turn: Next, ids: Mapping[str, str]) -> dict[str, Any]:
        """Return the row of a step whose turn it is: it starts, or is skipped."""
        step, number, skipped, broken = turn.step, workflow.steps.index(turn.step), turn.skipped, ""
        context: dict[str, Any] = {"execution": parts.as_context(whole), "steps": {}}
        try:
            if not skipped:
                for name in steps_taken_from(step):
                    context["steps"][name] = self._outcome(ids[name], workflow.step(name), step)
                condition = condition_of(step)
                if condition is not None and not condition.evaluate(context):
                    skipped = f"its condition does not hold: {condition.shown(context)}"
        except SchedulerError as wrong:
            broken = str(wrong)
        if skipped:
            return parts.skipped_step_document(whole, step, number, self._by, skipped)
        text = json.dumps(context, ensure_ascii=False)
        if len(text.encode()) > LARGEST_CONTEXT:
            broken, text = f"what it takes from earlier steps has more than {LARGEST_CONTEXT:,} bytes of JSON", "{}"
        again: str = whole["carried"].get("again", {}).get(step.name, "")
        return parts.step_document(whole, step, number, self._by, context=text, broken=broken, again=again)

    def _outcome(self, execution_id: str, step: Step, seen_by: Step) -> dict[str, Any]:
        """Return how a step has ended, as a later one sees it."""
        row = self._executions.find_one({"_id": execution_id}, parts.OUTCOME_FIELDS)
        if row is None:
            raise FailedPrecondition(f"the record of the step {step.name} ({execution_id}) was removed")
        found = parts.outcome(row)
        if step.fan_out is not None:
            try:
                found["results"] = [result for _, result in sorted(self._item_results(row).items())]
            except FailedPrecondition:
                if mentions_results(seen_by):
                    raise
                # Who takes from the counts only can go on without them.
        return found

    def _item_results(self, fan_out: Mapping[str, Any]) -> dict[int, Any]:
        """Return the results of a fan-out's items by their numbers, those included that a retry has not run again."""
        found: dict[int, Any] = {}
        if "reuse" in fan_out:
            earlier = self._executions.find_one({"_id": fan_out["reuse"]}, parts.OUTCOME_FIELDS)
            if earlier is None:
                raise FailedPrecondition(f"the record of {fan_out['reuse']}, which this is a retry of, was removed")
            found = self._item_results(earlier)
        size = 0
        for row in self._executions.find(parts.parts_filter(fan_out["_id"]), parts.ITEM_FIELDS):
            found[row["number"]] = parts.outcome(row)["result"]
            size += len(row.get("result", ""))
            if size > LARGEST_CONTEXT:
                raise FailedPrecondition(
                    f"the results of the parts of {fan_out['_id']} are too large to take from (more than"
                    f" {LARGEST_CONTEXT:,} bytes of JSON)"
                )
        return found

    # Both:

    def _start(self, documents: Sequence[dict[str, Any]]) -> int:
        """Insert rows of one whole that are not there, and have the messages sent of those that run.

        Returns how many were not there.
        """
        if not documents:
            return 0
        there = insert_missing(self._executions, documents)
        inserted = [document for document in documents if document["_id"] not in there]
        metrics.BEAT_PARTS.inc(len(inserted))
        self._hand_over(document for document in inserted if "send_at" in document)
        if inserted:
            parent_id = inserted[0]["parent"]
            log.info("parts start", action="parts_started", execution_id=parent_id, count=len(inserted))
        return len(inserted)

    def _conclude(
        self, whole: Mapping[str, Any], ending: Ending | None, counts: Mapping[str, int], result: Mapping[str, Any]
    ) -> None:
        if ending is None:
            self._do(parts.rest(whole, counts))
            return
        if not self._do(parts.end_whole(whole, ending, self._by, counts, result)):
            return  # a part has ended, or somebody has stopped it, since it was read: there will be another look
        metrics.BEAT_WHOLES.labels(ending.state.value).inc()
        (log.info if ending.state is State.SUCCEEDED else log.warning)(
            "parts have ended",
            action="whole_ended",
            execution_id=whole["_id"],
            job_id=whole["job_id"],
            trace_id=whole["trace_id"],
            state=ending.state.value,
            reason=ending.reason or None,
        )

    def _look_again(self, whole: Mapping[str, Any]) -> None:
        """Have another look at a whole that was left as it was, at once, but behind all others that are due.

        Looks are at the first of those, and a hundred such would be all that is ever looked at.
        """
        self._do(parts.signal({whole["_id"]}))

    def _do(self, move: executions.Move) -> int:
        return self._executions.update_many(move.filter, move.update).modified_count
