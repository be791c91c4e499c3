"""The queues: which there are, which kind of job goes where, and how they are declared."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import yaml
from kombu import Exchange, Queue

from shared.domain.job import HIGHEST_PRIORITY, JobType
from shared.settings import stop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MANUAL: Final = "manual"
"""The queue of executions that are started by hand."""

DEAD_LETTER: Final = "dead_letter"

EXECUTIONS_EXCHANGE: Final = Exchange("executions", type="direct", durable=True)
"""Routes by the queue's name."""

DEAD_LETTER_EXCHANGE: Final = Exchange("dead_letter", type="fanout", durable=True)

_CLASSIC: Final = {"x-queue-type": "classic"}
"""Said, since a virtual host may have another type for queues that do not say. A quorum queue refuses one limit for all
queues of a worker, and with RabbitMQ 3.x `x-max-priority`."""

DEAD_LETTER_QUEUE: Final = Queue(DEAD_LETTER, DEAD_LETTER_EXCHANGE, durable=True, queue_arguments=_CLASSIC)

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


@dataclass(frozen=True, slots=True)
class Queues:
    """The configured queues."""

    names: frozenset[str]
    by_type: Mapping[JobType, str]

    def declarations(self) -> list[Queue]:
        """Return the queues as RabbitMQ gets to know them."""
        arguments = {
            **_CLASSIC,
            "x-max-priority": HIGHEST_PRIORITY,
            "x-dead-letter-exchange": DEAD_LETTER_EXCHANGE.name,
        }
        return [
            Queue(name, EXECUTIONS_EXCHANGE, routing_key=name, durable=True, queue_arguments=arguments)
            for name in sorted(self.names)
        ]


def load_queues(folder: Path, extra: Sequence[str] = ()) -> Queues:
    """Read queues.yaml, or end the process with one sentence that names all that is wrong with it.

    extra: names of further queues, EXTRA_QUEUES; one that queues.yaml has as well is no mistake.
    """
    path = folder / "queues.yaml"
    try:
        entries = yaml.safe_load(path.read_text())["queues"]
        queues, problems = _read(entries)
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        stop(f"{path}: cannot be read as a map `queues` of names: {error!r}")
    if problems:
        stop(f"{path}: {'; '.join(problems)}")
    if wrong := [name for name in extra if not _is_name(name)]:
        stop(f"EXTRA_QUEUES: {'; '.join(map(_not_a_name, wrong))}")
    return replace(queues, names=queues.names | set(extra))


def _is_name(name: str) -> bool:
    # RabbitMQ keeps names that begin with `amq.` for itself, and answers each declaration with the end of the channel.
    return bool(_NAME.fullmatch(name)) and name != DEAD_LETTER and not name.startswith("amq.")


def _not_a_name(name: object) -> str:
    return f"'{name}' is not a name for a queue (a-z, 0-9, _ . -, at most 63; not {DEAD_LETTER}, nor amq.*)"


def _types(given: object) -> list[str]:
    """Return the types that an entry names: one, a list of them, or none."""
    return [str(each) for each in given] if isinstance(given, list) else [] if given is None else [str(given)]


def _read(entries: Mapping[str, Mapping[str, Any] | None]) -> tuple[Queues, list[str]]:
    problems = []
    by_type: dict[JobType, str] = {}
    for name, entry in entries.items():
        if not _is_name(str(name)):
            problems.append(_not_a_name(name))
        for given in _types((entry or {}).get("job_type")):
            if given not in JobType.__members__:
                problems.append(f"{name}.job_type: '{given}' is not a job type ({', '.join(JobType)})")
            elif by_type.setdefault(JobType(given), name) != name:
                problems.append(f"{name}.job_type: {given} already goes to {by_type[JobType(given)]}")
    if MANUAL not in entries:
        problems.append(f"the queue '{MANUAL}' is needed for executions that are started by hand")
    if missing := [job_type for job_type in JobType if job_type not in by_type]:
        problems.append(f"no queue has the job type {', '.join(missing)}")
    return Queues(frozenset(map(str, entries)), by_type), problems
