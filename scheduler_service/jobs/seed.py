"""The preconfigured jobs of config/jobs.yaml: created at start unless their job_id is taken, and then left alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from scheduler_service.jobs.documents import read_entries
from scheduler_service.jobs.drafts import new_draft
from scheduler_service.jobs.entries import PAUSED, beside, read_paused, read_request
from scheduler_service.transport.refusals import Taken
from shared.domain.errors import FailedPrecondition, InvalidInput, Unavailable, Violation
from shared.log import get_logger
from shared.store.jobs import new_uid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scheduler_service.jobs.definitions import Definitions
    from scheduler_service.jobs.documents import Entry
    from scheduler_service.jobs.jobs import Jobs
    from shared.domain.job import JobDraft

log = get_logger()

FILE: Final = "jobs.yaml"
CREATED_BY: Final = f"config/{FILE}"

_LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""When entries are judged at start: one whose time has passed since it was written must not stop a later start."""


async def read_seed(folder: Path, definitions: Definitions) -> list[JobDraft]:
    """Read jobs.yaml; raise InvalidInput with all that is wrong with all entries.

    An entry whose target's contract can't be read now is taken as it is, with a warning in the log.
    """
    path = folder / FILE
    entries = _entries(path)
    found: list[Violation] = []
    drafts: list[JobDraft] = []
    for entry in entries:
        inside: list[Violation] = []
        if read_paused(entry.values, inside):
            inside.append(Violation(PAUSED, "a job is only created here; pause it by a call, or import it"))
        request = read_request(entry.values, inside)
        if request.job_id and any(other.job_id == request.job_id for other in drafts):
            inside.append(Violation("job_id", f"'{request.job_id}' is there twice"))
        read = tuple(inside)
        draft = new_draft(request, request.job_id, definitions.defaults, inside)
        drafts.append(draft)
        inside = beside(read, await _check(draft, definitions, inside))
        found += [entry.located(wrong, f"{FILE}: ") for wrong in inside]
    if found:
        raise InvalidInput(found)
    return drafts


async def plant(drafts: Sequence[JobDraft], jobs: Jobs, definitions: Definitions) -> int:
    """Create the jobs whose ids are free; return how many. Safe to run in several servers at once.

    Raises PyMongoError when the store can't be reached; running it again goes on.
    """
    taken = await jobs.taken([draft.job_id for draft in drafts])
    planted = 0
    for draft in drafts:
        if draft.job_id in taken:
            continue
        now = await jobs.now()
        try:
            definition = await definitions.define(draft, now, with_target=False)
            await jobs.create(definition, new_uid(), now, CREATED_BY, limited=False)
        except Taken:
            continue
        except InvalidInput as refused:
            log.warning(
                "a preconfigured job is out of date", action="seed_late", job_id=draft.job_id, error=str(refused)
            )
        else:
            planted += 1
            log.info("preconfigured job created", action="seed_created", job_id=draft.job_id)
    return planted


def _entries(path: Path) -> list[Entry]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput([Violation(FILE, f"it can't be read: {' '.join(str(error).split())}")]) from error
    return read_entries(text, FILE)


async def _check(draft: JobDraft, definitions: Definitions, found: list[Violation]) -> list[Violation]:
    """Return all violations of a draft."""
    try:
        await definitions.define(draft, _LONG_AGO, found)
    except InvalidInput as refused:
        return list(refused.violations)
    except (Unavailable, FailedPrecondition) as error:
        log.warning(
            "a preconfigured job's call can't be checked now",
            action="seed_unchecked",
            job_id=draft.job_id,
            error=str(error),
        )
    return []
