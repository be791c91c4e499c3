"""Whether the calls of a fan-out or a workflow can be right: their targets, their expressions, and what fits where."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from shared.domain.errors import InvalidInput, SchedulerError, Violation
from shared.domain.flow import MOST_ITEMS, FanOut, Workflow
from shared.domain.text import excerpt
from shared.expressions import (
    NUMBER,
    TEXT,
    ListOf,
    Placeholder,
    Record,
    kind_of,
    parse_condition,
    parse_list_path,
    read_template,
    roots,
)
from shared.flow_expressions import INDEX, ITEM, Calls, steps_taken_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from shared.domain.flow import Flow, Source, Step
    from shared.expressions import Kind

    Check = Callable[[str, str, Mapping[str, object] | None], None]
    """Asks whether a target has a method, and whether parameters, with placeholders, fit it; raises what it says."""

    AnswerKind = Callable[[str, str], Kind | None]
    """Returns what is known of a method's answer; raises as Check does."""

_EXECUTION: Final = Record("execution", {"id": TEXT, "job_id": TEXT, "nominal_time": TEXT})
_ERROR: Final = Record("error", {"code": TEXT, "message": TEXT})
_MOST_ITEMS_SAID: Final = 5
"""Items that are named with what is wrong with them; the others are mostly wrong in the same way."""


class Call(Protocol):
    """What is called, by a draft, a job, or whatever else has it."""

    @property
    def target_service(self) -> str: ...  # noqa: D102
    @property
    def target_method(self) -> str: ...  # noqa: D102
    @property
    def parameters(self) -> Mapping[str, object]: ...  # noqa: D102
    @property
    def flow(self) -> Flow | None: ...  # noqa: D102


class FlowChecks:
    """Checks what is called, and with what. Blocks: a contract that is not known may have to be read."""

    def __init__(self, check: Check, answer_kind: AnswerKind) -> None:
        self._check = check
        self._answer_kind = answer_kind

    def violations(self, call: Call) -> list[Violation]:
        """Return all that is wrong with a flow.

        Raises Unavailable or FailedPrecondition when a contract can't be read.
        """
        flow: Flow | None = call.flow
        if isinstance(flow, Workflow):
            return [wrong for number, step in enumerate(flow.steps) for wrong in self._step(flow, number, step)]
        known: dict[str, Kind | None] = {"execution": _EXECUTION}
        return list(self._fan_out(call, flow, known, None)) if isinstance(flow, FanOut) else []

    # Steps:

    def _step(self, workflow: Workflow, number: int, step: Step) -> Iterator[Violation]:
        before = workflow.before(step.name)
        steps: dict[str, Kind | None] = {
            earlier.name: self._outcome(earlier) for earlier in workflow.steps if earlier.name in before
        }
        known: dict[str, Kind | None] = {"execution": _EXECUTION}
        found: list[Violation] = []
        for other in sorted(_taken_from(step) & {each.name for each in workflow.steps} - before - {step.name}):
            said = f"its expressions take from the step {other}, which it does not come after"
            found.append(Violation("after", said))
            steps[other] = None
        if step.when:
            found += _refused(lambda: parse_condition(step.when).check(roots(known, steps)))
        if step.fan_out is not None:
            found += self._fan_out(step, step.fan_out, known, steps)
        else:
            found += self._call(step, roots(known, steps))
        for wrong in found:
            yield replace(wrong, field=f"workflow.steps[{number}].{wrong.field}")

    def _outcome(self, step: Step) -> Kind:
        """Return what later steps can know of one."""
        answer = self._known_answer(step.target_service, step.target_method)
        if step.fan_out is None:
            return Record(f"step {step.name}", {"state": TEXT, "result": answer, "error": _ERROR})
        counts = Record("result", {"total": NUMBER, "succeeded": NUMBER, "failed": NUMBER, "cancelled": NUMBER})
        results = ListOf(answer)
        return Record(f"step {step.name}", {"state": TEXT, "result": counts, "error": _ERROR, "results": results})

    def _known_answer(self, service: str, method: str) -> Kind | None:
        try:
            return self._answer_kind(service, method)
        except SchedulerError:
            return None  # said where the call itself is checked

    # Calls:

    def _call(self, of: Step | Source | Call, schema: Kind, where: str = "") -> Iterator[Violation]:
        """Check one call whose parameters take from a context of this kind; where: the path of it, with a dot."""
        template = read_template(of.parameters)
        found = [*_refused(template.check, schema), *self._fits(of, template.placeholders(schema))]
        yield from (replace(wrong, field=f"{where}{wrong.field}") for wrong in found)

    def _fits(self, of: Step | Source | Call, parameters: Mapping[str, object] | None) -> Iterable[Violation]:
        """Return why a target does not take parameters; None: those are not known, and only the names are checked."""
        service, method = of.target_service, of.target_method
        if not service or not method:
            said = "a target and a method are required, as scraper-service and ScrapeCompetitorPrices"
            return [Violation("target_method" if service else "target_service", said)]
        return _refused(self._check, service, method, parameters)

    # Fan-outs:

    def _fan_out(
        self,
        of: Step | Call,
        fan_out: FanOut,
        known: dict[str, Kind | None],
        steps: Mapping[str, Kind | None] | None,
    ) -> Iterator[Violation]:
        schema = roots(known, steps)
        item: Kind | None = None
        try:
            item = self._item_kind(fan_out, schema)
        except InvalidInput as refused:
            yield from refused.violations
        if fan_out.source is not None:
            yield from self._call(fan_out.source, schema, "fan_out.source.")
        calls = Calls.of(of.parameters, fan_out)
        templates = [calls.parameters, *([calls.key] if calls.key else [])]
        of_item = roots({**known, ITEM: item, INDEX: NUMBER}, steps)
        # Also where items are given: they do not settle expressions on steps, and what is wrong whatever the item.
        found = [wrong for template in templates for wrong in _refused(template.check, of_item)]
        yield from found
        if fan_out.items is not None and not found:
            needs_steps = any(template.references.steps for template in templates)
            yield from self._given(of, () if needs_steps else fan_out.items, calls)
            return
        if not calls.merges:
            yield from self._fits(of, calls.parameters.placeholders(of_item))
        elif isinstance(item, Record) and not calls.parameters.problems:
            fields = {name: Placeholder(f"${{item.{name}}}", kind) for name, kind in item.fields.items()}
            yield from self._fits(of, calls.parameters.placeholders(of_item) | fields)
        else:
            yield from self._fits(of, None)  # its fields are added, and which it has is not known

    def _item_kind(self, fan_out: FanOut, schema: Kind) -> Kind | None:
        """Return what is known of an item; raise InvalidInput when the items can't be a list."""
        if fan_out.items is not None:
            return None  # each of them is tried, which tells more
        if fan_out.source is not None:
            answer = self._known_answer(fan_out.source.target_service, fan_out.source.target_method)
            if not fan_out.source.path:
                return None
            return parse_list_path(fan_out.source.path, "fan_out.source.path").check(answer)
        if not fan_out.items_from:
            return None  # nothing says what the items are, which has been refused
        template = read_template({"items_from": fan_out.items_from}, "fan_out")
        template.check(schema)
        placed = template.placeholders(schema)["items_from"]
        kind = placed.kind if isinstance(placed, Placeholder) else kind_of(placed)
        if kind is not None and not isinstance(kind, ListOf):
            said = "it does not give a list"
            if not isinstance(placed, Placeholder):
                said += f" but is the text {excerpt(fan_out.items_from)!r}; write an expression, as ${{steps.a.result}}"
            raise InvalidInput([Violation("fan_out.items_from", said)])
        return kind.item if isinstance(kind, ListOf) else None

    def _given(self, of: Step | Call, items: tuple[object, ...], calls: Calls) -> Iterator[Violation]:
        """Check what is called, and the calls of items that are known now."""
        yield from (named := list(self._fits(of, None)))
        known_wrong = {wrong.field for wrong in named}
        execution = {"execution": {"id": "1", "job_id": "1", "nominal_time": "2030-01-01T00:00:00Z"}}
        said = 0
        for index, item in enumerate(items[:MOST_ITEMS]):
            where = f"fan_out.items[{index}]"
            try:
                parameters, _ = calls.make(index, item, execution)
            except InvalidInput as refused:
                found = [
                    wrong if wrong.field == where else Violation(where, str(wrong)) for wrong in refused.violations
                ]
            except SchedulerError as refused:
                found = [Violation(where, str(refused))]
            else:
                found = [
                    replace(wrong, field=f"{wrong.field} of {where}")
                    for wrong in self._fits(of, parameters)
                    if wrong.field not in known_wrong
                ]
            yield from found
            said += bool(found)
            if said == _MOST_ITEMS_SAID:
                yield Violation("fan_out.items", f"those after {index} were not looked at")
                return


def _taken_from(step: Step) -> frozenset[str]:
    try:
        return steps_taken_from(step)
    except InvalidInput:  # its condition can't be parsed, which is said where that is checked
        return steps_taken_from(replace(step, when=""))


def _refused(check: Callable[..., object], *arguments: object) -> tuple[Violation, ...]:
    """Return what a check raises."""
    try:
        check(*arguments)
    except InvalidInput as refused:
        return refused.violations
    return ()
