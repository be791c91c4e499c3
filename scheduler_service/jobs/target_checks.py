"""Whether what a job calls can be right: its targets have the methods, and its parameters fit their requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler_service.jobs.flow_checks import FlowChecks
from shared.domain.errors import InvalidInput
from shared.domain.job import TASK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler_service.jobs.flow_checks import Call
    from shared.expressions import Kind
    from shared.targets import Targets
    from shared.tasks.registry import Tasks


class TargetChecks:
    """Asks the contracts of these targets. Blocks: one that is not compiled in is read over the network."""

    def __init__(self, targets: Targets, tasks: Tasks) -> None:
        self._targets = targets
        self._tasks = tasks
        self._flow_checks = FlowChecks(self._check_call, self._answer_kind)

    def check(self, call: Call, *, with_parameters: bool = True) -> None:
        """Check a call, or all calls of a flow.

        with_parameters: False for parameters that are refused as they are, as for their size: they may be too many to
        be looked through. Raises InvalidInput with all violations; Unavailable or FailedPrecondition when a contract
        can't be read.
        """
        if call.flow is not None:
            if violations := self._flow_checks.violations(call):
                raise InvalidInput(violations)
        elif call.target_service and call.target_method:
            # Also of one whose parameters are refused as they are: the name is asked first.
            self._check_call(call.target_service, call.target_method, call.parameters if with_parameters else None)

    def is_known_to_fit(self, call: Call) -> bool:
        """Return whether a call is right by what is known, without asking a target: this does not block.

        False says nothing, as of a flow, whose checks may take long.
        """
        if call.flow is not None:
            return False
        if call.target_service != TASK:
            return self._targets.is_known_to_fit(call.target_service, call.target_method, call.parameters)
        try:
            self._tasks.check(call.target_method, call.parameters)
        except InvalidInput:
            return False
        return True

    def _check_call(self, service: str, method: str, parameters: Mapping[str, object] | None) -> None:
        if service == TASK:
            self._tasks.check(method, parameters)
        elif parameters is None:
            self._targets.method(service, method)
        else:
            self._targets.check(service, method, parameters)

    def _answer_kind(self, service: str, method: str) -> Kind | None:
        """Return what is known of what a call answers, before it is made."""
        return None if service == TASK else self._targets.method(service, method).result_kind
