"""What a request says about fan-outs and workflows, as values of the domain."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from scheduler_service.jobs.policy_drafts import read_choice, read_retry
from scheduler_service.transport.convert import to_list, to_mapping, to_span
from shared.domain.errors import InvalidInput, Violation
from shared.domain.flow import MOST_STEPS, FailurePolicy, FanOut, Requires, Source, Step, Workflow
from shared.domain.job import merged_retry

if TYPE_CHECKING:
    from shared.domain.flow import Flow
    from shared.domain.retry import RetryPolicy
    from shared.proto import scheduler_service_pb2 as pb


class _FanOutAsGiven(FanOut):
    """A fan-out that can't be right. It only lives until all else that is wrong with its job has been found, too."""

    def __post_init__(self) -> None:
        """Take it as it is: what is wrong with it has been said."""


class _WorkflowAsGiven(Workflow):
    """As _FanOutAsGiven; but its steps come after no others than there are."""

    def __post_init__(self) -> None:
        """Take it as it is: what is wrong with it has been said."""


FLOWS: Final = frozenset({"fan_out", "workflow"})
"""The fields that are about what has parts."""


def read_flow(
    message: pb.CreateScheduledJobRequest | pb.ScheduledJob, retry: RetryPolicy, found: list[Violation]
) -> Flow | None:
    """Return the fan-out or the workflow of a job, if it has one; with violations, one that may be wrong in itself.

    retry: what a step's retry policy has that it does not say.
    """
    fans_out, flows = message.HasField("fan_out"), message.HasField("workflow")
    if fans_out and flows:
        found.append(Violation("workflow", "a job has a fan_out or a workflow, not both; a step may fan out"))
    workflow = _workflow(message.workflow, retry, found) if flows else None
    return _fan_out(message.fan_out, "", found) if fans_out else workflow


def _fan_out(given: pb.FanOut, where: str, found: list[Violation]) -> FanOut:
    """Read a fan-out; where: the path of what it belongs to, with a dot."""
    inside: list[Violation] = []
    source = given.source if given.HasField("source") else None
    policy = read_choice(given, "fan_out", "failure_policy", FailurePolicy, inside)
    fields: dict[str, Any] = {
        "items": tuple(to_list("fan_out.items", given.items, inside)) if given.HasField("items") else None,
        "source": Source(
            source.target_service,
            source.target_method,
            to_mapping("fan_out.source.parameters", source.parameters, inside),
            source.path,
        )
        if source
        else None,
        "items_from": given.items_from,
        "max_parallel": given.max_parallel,
        "failure_policy": policy or FailurePolicy.ALL,
        "min_succeeded": given.min_succeeded,
        "min_share": given.min_share,
        "key": given.key,
    }
    try:
        fan_out = FanOut(**fields)
    except InvalidInput as refused:
        inside += refused.violations
        fan_out = _FanOutAsGiven(**fields)
    if policy is not None or not given.failure_policy:
        inside += _unasked(given, fan_out.failure_policy)
    if not where and given.items_from:
        inside.append(Violation("fan_out.items_from", "only a step of a workflow can take its items from another one"))
    found += [replace(wrong, field=f"{where}{wrong.field}") for wrong in inside]
    return fan_out


def _unasked(given: pb.FanOut, policy: FailurePolicy) -> list[Violation]:
    """Refuse numbers that the policy does not look at. Only here: a fan-out that was stored with one can be read."""
    return [
        Violation(f"fan_out.{name}", f"only the failure_policy {of} looks at it, and that is {policy}; leave it out")
        for name, of in (("min_succeeded", FailurePolicy.AT_LEAST), ("min_share", FailurePolicy.SHARE))
        if getattr(given, name) and policy is not of
    ]


def _workflow(given: pb.Workflow, retry: RetryPolicy, found: list[Violation]) -> Workflow:
    steps = tuple(
        _step(step, f"workflow.steps[{number}].", retry, found)
        for number, step in enumerate(given.steps[: MOST_STEPS + 1])
    )
    try:
        return Workflow(steps)
    except InvalidInput as refused:
        found += refused.violations
    names = {step.name for step in steps}
    return _WorkflowAsGiven(
        tuple(replace(step, after=tuple(name for name in step.after if name in names)) for step in steps)
    )


def _step(given: pb.Workflow.Step, where: str, retry: RetryPolicy, found: list[Violation]) -> Step:
    """Read a step, with what is wrong with it by itself."""
    inside: list[Violation] = []
    own_retry = None
    if given.HasField("retry_policy"):
        fields = {name: value for name, value in read_retry(given.retry_policy, inside).items() if value is not None}
        try:
            own_retry = merged_retry(fields, retry)
        except InvalidInput as refused:
            inside += refused.violations
    step = Step(
        name=given.name,
        target_service=given.target_service,
        target_method=given.target_method,
        parameters=to_mapping("parameters", given.parameters, inside),
        after=tuple(dict.fromkeys(given.after)),
        requires=read_choice(given, "", "requires", Requires, inside) or Requires.SUCCESS,
        when=given.when,
        queue=given.queue,
        priority=given.priority if given.HasField("priority") else None,
        timeout=to_span("timeout", given.timeout, inside) if given.HasField("timeout") else None,
        retry=own_retry,
    )
    found += [replace(wrong, field=f"{where}{wrong.field}") for wrong in inside]
    fan_out = _fan_out(given.fan_out, where, found) if given.HasField("fan_out") else None
    return replace(step, fan_out=fan_out)
