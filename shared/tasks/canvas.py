"""Celery's canvas: what is to follow a call, as its row keeps it, and what follows when it has ended.

The signatures that Celery hands over with a call (the rest of its chain, its callbacks, the body of its chord) are kept
with the row as JSON. Each has its task's id by then, so that a call that is made twice, after a crash, is made once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from celery.canvas import Signature, maybe_signature
from kombu.utils import json

from shared.domain.errors import InvalidInput, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from celery import Celery


CELERYS: Final = "celery."
"""How the names of the tasks begin that Celery brings with it."""


def refuse_celerys(task: str) -> None:
    """Raise NotImplementedError for a task of Celery's own."""
    if task.startswith(CELERYS):
        raise NotImplementedError(f"{task}: chunks, map and starmap have no place in the ledger; make a group")


@dataclass(frozen=True, slots=True)
class Canvas:
    """What follows a call. chain: what is left of it, the next one last, as Celery has it."""

    links: Sequence[Any] = ()
    errbacks: Sequence[Any] = ()
    chain: Sequence[Any] = ()
    body: Any = None
    """Of the chord that the call is a part of the header of."""


def written(options: Mapping[str, Any], app: Celery) -> str | None:
    """Return what follows a call that is made with these options, as JSON; None when nothing does.

    Raises NotImplementedError for what beat could not call when its turn comes, InvalidInput for what has no form in
    JSON.
    """
    canvas = {
        "links": [_named(each, app) for each in _listed(options.get("link"))],
        "errbacks": [_named(each, app) for each in _listed(options.get("link_error"))],
        "chain": list(options.get("chain") or ()),
        "body": options.get("chord"),
    }
    for signature in _calls([each for each in canvas.values() if each], app):
        refuse_celerys(signature.task)
    try:
        return json.dumps(canvas) if any(canvas.values()) else None
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput([Violation("", f"what is to follow the call can't be written as JSON: {error}")]) from error


def read(text: str) -> Canvas:
    """Read what follows a call."""
    return Canvas(**json.loads(text))


def ids(given: Any, app: Celery) -> Iterator[str]:
    """Yield the ids of all calls that a signature, or each of a list of them, would make."""
    for signature in _calls(given, app):
        if task_id := signature.options.get("task_id"):
            yield task_id


def last(given: Any, app: Celery) -> Any:
    """Return the signature of the last single task that a signature would call: it has the body that waits for it."""
    signature: Any = maybe_signature(given, app=app)
    if (body := getattr(signature, "body", None)) is not None:
        return last(body, app)
    inside = getattr(signature, "tasks", None)
    return last(inside[-1], app) if inside else signature


def _calls(given: Any, app: Celery) -> Iterator[Any]:
    """Yield the signatures of single tasks that there are in one, or in each of a list of them."""
    if isinstance(given, list | tuple):
        for each in given:
            yield from _calls(each, app)
        return
    signature: Any = maybe_signature(given, app=app)
    inside = [part for name in ("tasks", "body") if (part := getattr(signature, name, None)) is not None]
    for part in inside:
        yield from _calls(part, app)
    if not inside:
        yield signature


def _listed(given: Any) -> list[Any]:
    if not given:
        return []
    return list(given) if isinstance(given, list | tuple) else [given]


def _named(given: Any, app: Celery) -> Signature:
    """Return a signature whose tasks have ids."""
    known: Any = maybe_signature(given, app=app)
    signature: Signature = known.clone()
    if not signature.options.get("task_id"):
        signature.freeze()
    return signature
