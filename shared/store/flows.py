"""Fan-outs and workflows in the documents of jobs and executions: their kind, and all the rest as JSON text.

As text for the reason that parameters are (docs/decisions/0002): items and parameters may have any keys, and a beat
copies it all without a look inside.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from shared.domain.flow import FailurePolicy, FanOut, Requires, Source, Step, Workflow
from shared.store.retry import retry_policy, retry_policy_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.domain.flow import Flow


class Kind(StrEnum):
    """What kind of flow it is."""

    FAN_OUT = "FAN_OUT"
    WORKFLOW = "WORKFLOW"


def flow_document(flow: Flow) -> dict[str, Any]:
    """Return a fan-out or a workflow as documents have it."""
    targets = flow_targets(flow)
    if isinstance(flow, FanOut):
        return {"kind": Kind.FAN_OUT.value, "spec": _text(asdict(flow)), "targets": targets}
    steps = [_step_document(step) for step in flow.steps]
    return {"kind": Kind.WORKFLOW.value, "spec": _text({"steps": steps}), "targets": targets}


def flow_targets(flow: Flow) -> list[str]:
    """Return the targets that a flow names: those of a workflow's steps, and of the sources of items."""
    if isinstance(flow, FanOut):
        return [flow.source.target_service] if flow.source is not None else []
    named = {step.target_service for step in flow.steps}
    return sorted(named.union(*(flow_targets(step.fan_out) for step in flow.steps if step.fan_out is not None)))


def to_flow(document: Mapping[str, Any]) -> Flow:
    """Read a fan-out or a workflow."""
    spec = json.loads(document["spec"])
    if Kind(document["kind"]) is Kind.FAN_OUT:
        return _fan_out(spec)
    return Workflow(tuple(_step(step) for step in spec["steps"]))


def _text(spec: Mapping[str, Any]) -> str:
    return json.dumps(spec, ensure_ascii=False, allow_nan=False)


def _fan_out(spec: Mapping[str, Any]) -> FanOut:
    source = spec["source"]
    return FanOut(
        items=None if spec["items"] is None else tuple(spec["items"]),
        source=Source(**source) if source else None,
        items_from=spec["items_from"],
        max_parallel=spec["max_parallel"],
        failure_policy=FailurePolicy(spec["failure_policy"]),
        min_succeeded=spec["min_succeeded"],
        min_share=spec["min_share"],
        key=spec["key"],
    )


def _step_document(step: Step) -> dict[str, Any]:
    return {
        "name": step.name,
        "target_service": step.target_service,
        "target_method": step.target_method,
        "parameters": step.parameters,
        "after": step.after,
        "requires": step.requires.value,
        "when": step.when,
        "fan_out": asdict(step.fan_out) if step.fan_out else None,
        "queue": step.queue,
        "priority": step.priority,
        "timeout": step.timeout.total_seconds() if step.timeout is not None else None,
        "retry": retry_policy_document(step.retry) if step.retry is not None else None,
    }


def _step(spec: Mapping[str, Any]) -> Step:
    return Step(
        name=spec["name"],
        target_service=spec["target_service"],
        target_method=spec["target_method"],
        parameters=spec["parameters"],
        after=tuple(spec["after"]),
        requires=Requires(spec["requires"]),
        when=spec["when"],
        fan_out=_fan_out(spec["fan_out"]) if spec["fan_out"] else None,
        queue=spec["queue"],
        priority=spec["priority"],
        timeout=timedelta(seconds=spec["timeout"]) if spec["timeout"] is not None else None,
        retry=retry_policy(spec["retry"]) if spec["retry"] is not None else None,
    )
