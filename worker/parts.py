"""What an attempt does that has parts: it finds out what they are, and leaves the rest to beat."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from shared.domain.errors import FailedPrecondition, SchedulerError
from shared.domain.execution import Failure, State, rfc3339
from shared.domain.flow import LARGEST_ITEMS, FanOut, undisturbed_steps
from shared.expressions import parse_template, quoted
from shared.flow_expressions import Calls, as_items, found_items, written_items
from shared.store import parts
from shared.store.flows import flow_document
from worker.answers import INVALID_RESULT, Succeeded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.domain.flow import Source, Workflow
    from shared.store.executions import Claimed
    from worker.ledger import Ledger
    from worker.target import Cancellation


@dataclass(frozen=True, slots=True)
class Begun:
    """The parts are known; see shared.store.parts.wait_for_parts."""

    total: int
    items: str | None = None
    carried: Mapping[str, Any] = field(default_factory=dict)


def rendered(claimed: Claimed) -> Claimed:
    """Return the attempt of a step with the values of its expressions; raises ExpressionError."""
    if claimed.context is None:
        return claimed
    parameters = parse_template(json.loads(claimed.parameters)).render(claimed.context)
    return replace(claimed, parameters=json.dumps(parameters, ensure_ascii=False))


def called_with(claimed: Claimed, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a row with which its next attempt calls its task with these parameters, as they are.

    Where there are expressions in them by now, the next attempt must not take what was made of those for more. The
    parameters of a fan-out are its items'; what a call of its source changes are the source's.
    """
    if isinstance(claimed.flow, FanOut) and claimed.flow.source is not None:
        source = replace(claimed.flow.source, parameters=quoted(parameters))
        return {"flow": flow_document(replace(claimed.flow, source=source))}
    as_they_are = parameters if claimed.context is None else quoted(parameters)
    return {"parameters": json.dumps(as_they_are, ensure_ascii=False, allow_nan=False)}


class Parts:
    """Begins fan-outs and workflows. `call` makes a call as for any other attempt."""

    def __init__(self, ledger: Ledger, call: Callable[[Claimed, Cancellation], Any]) -> None:
        self._ledger = ledger
        self._call = call

    def begin(self, claimed: Claimed, cancellation: Cancellation) -> Begun | Any:
        """Find out what the parts are; return what came of a call that had to be made for it, if it was no success.

        Raises StoppingError as Ledger does.
        """
        try:
            if claimed.reuse and (again := self._again(claimed)) is not None:
                return again
            if isinstance(claimed.flow, FanOut):
                return self._fan_out(claimed, claimed.flow, cancellation)
        except SchedulerError as wrong:
            return Failure(INVALID_RESULT, str(wrong), retryable=False)
        workflow: Workflow = claimed.flow  # type: ignore[assignment]  # there are two kinds
        return Begun(len(workflow.steps))

    def _fan_out(self, claimed: Claimed, fan_out: FanOut, cancellation: Cancellation) -> Begun | Any:
        context = claimed.context or {
            "execution": {
                "id": claimed.execution_id,
                "job_id": claimed.job_id,
                "nominal_time": rfc3339(claimed.nominal_time),
            }
        }
        if fan_out.items is not None:
            items = list(fan_out.items)
        elif fan_out.source is not None:
            answer = self._call(_call_of(claimed, fan_out.source, context), cancellation)
            if not isinstance(answer, Succeeded):
                return answer
            items = found_items(fan_out.source, answer.result)
        else:
            template = parse_template(fan_out.items_from, "fan_out.items_from")
            found = template.render(context, LARGEST_ITEMS, null_has_a_meaning=False)
            items = as_items(found, "fan_out.items_from")
        calls = Calls.of(json.loads(claimed.parameters), fan_out)
        made = [parts.item(number, *calls.make(number, item, context)) for number, item in enumerate(items)]
        return Begun(len(made), written_items(made))

    def _again(self, claimed: Claimed) -> Begun | None:
        """Return what is left to do of an earlier execution; None when it never got as far as its parts.

        Raises FailedPrecondition when what would tell was removed: what has succeeded would be done again.
        """
        earlier = self._earlier(claimed.reuse)
        while "total" not in earlier:
            # It ended before it had parts; if it was a retry itself, what that one was to do is left to do.
            if "reuse" not in earlier:
                return None
            earlier = self._earlier(earlier["reuse"])
        rows = self._ledger.parts(earlier["_id"])
        if isinstance(claimed.flow, FanOut):
            return _items_left(earlier, rows)
        workflow: Workflow = claimed.flow  # type: ignore[assignment]  # there are two kinds
        return _steps_left(workflow, earlier, rows)

    def _earlier(self, execution_id: str) -> Mapping[str, Any]:
        earlier = self._ledger.whole(execution_id)
        if earlier is None:
            said = f"the record of {execution_id}, which this is a retry of, was removed"
            raise FailedPrecondition(f"{said}; only a retry from_start can do it")
        return earlier


def _items_left(earlier: Mapping[str, Any], rows: list[dict[str, Any]]) -> Begun:
    """Return the items of an earlier fan-out that have not succeeded.

    Raises FailedPrecondition when rows of some were removed: they would count as done.
    """
    if "items" in earlier:  # it was stopped before any had a row
        return Begun(earlier["total"], earlier["items"], earlier["carried"])
    _refuse_if_gone(earlier, rows, earlier["total"])
    left = [row for row in rows if row["state"] != State.SUCCEEDED]
    items = [parts.item(row["number"], json.loads(row["parameters"]), row["part_key"]) for row in left]
    done = len(rows) - len(left) + earlier["carried"].get("succeeded", 0)
    return Begun(len(items), written_items(items), {"succeeded": done})


def _steps_left(workflow: Workflow, earlier: Mapping[str, Any], rows: list[dict[str, Any]]) -> Begun:
    """Return a workflow's parts, and what of an earlier run of it stands: whatever comes after nothing that failed.

    Raises FailedPrecondition when rows of steps were removed: they would be done again.
    """
    carried: Mapping[str, Any] = earlier["carried"]
    # As many as beat has counted: of one that was stopped before it had any, or set aside, no more were there.
    _refuse_if_gone(earlier, rows, sum(earlier.get("parts", {}).values()) - len(carried.get("steps", {})))
    states = dict.fromkeys(carried.get("steps", {}), State.SUCCEEDED)
    states |= {row["part_name"]: State(row["state"]) for row in rows}
    undisturbed = undisturbed_steps(workflow, states)
    done = carried.get("steps", {}) | {row["part_name"]: row["_id"] for row in rows if row["state"] == State.SUCCEEDED}
    # A fan-out that was never begun again is left as an earlier run has left it.
    fan_outs = carried.get("again", {}) | {row["part_name"]: row["_id"] for row in rows if "flow" in row}
    return Begun(
        len(workflow.steps),
        carried={
            "steps": {name: ran for name, ran in done.items() if name in undisturbed},
            "again": {name: ran for name, ran in fan_outs.items() if name in undisturbed - done.keys()},
        },
    )


def _refuse_if_gone(earlier: Mapping[str, Any], rows: list[dict[str, Any]], had: int) -> None:
    if (gone := had - len(rows)) > 0:
        said = f"the records of {gone:,} of the {had:,} parts of {earlier['_id']} were removed"
        raise FailedPrecondition(f"{said}; only a retry from_start can do them")


def _call_of(claimed: Claimed, source: Source, context: Mapping[str, Any]) -> Claimed:
    """Return the attempt as one that calls the source of a fan-out."""
    template = parse_template(source.parameters, "fan_out.source.parameters")
    return replace(
        claimed,
        target_service=source.target_service,
        target_method=source.target_method,
        parameters=json.dumps(template.render(context), ensure_ascii=False),
        flow=None,
    )
