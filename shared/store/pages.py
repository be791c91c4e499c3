"""How large the pages are in which MongoDB keeps a collection, where its default costs too much.

WiredTiger writes whole leaf pages, 32 KB by default, and a page that has changed is written once it is pushed out of
the cache or a checkpoint comes. A fire changes one job, anywhere among all: of a million jobs nearly each fire has a
page of its own, and compressing and writing some eighteen jobs for it took MongoDB as long as all else that it does to
move a job on. Pages of 8 KB hold four or five (docs/performance.md has the measurement). Rows of executions are written
one behind the other, and change while they are new; they have the default.

It is chosen when a collection is made; one that is there stays as it is, which is right, and slower.
https://source.wiredtiger.com/develop/tune_page_size_and_comp.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shared.log import get_logger
from shared.store import jobs
from shared.store.mongo import is_away

if TYPE_CHECKING:
    from pymongo.errors import OperationFailure

log = get_logger()

CREATE_COMMANDS: Final[tuple[dict[str, Any], ...]] = (
    {"create": jobs.COLLECTION, "storageEngine": {"wiredTiger": {"configString": "leaf_page_max=8KB"}}},
)

_ALREADY_THERE: Final = 48


def tolerate(error: OperationFailure) -> None:
    """Let a command that was refused pass: the collection is there, or is made later as the store makes any.

    Raises the error if the store is only away. Services that are not MongoDB's own server refuse the option.
    """
    if is_away(error):
        raise error
    if error.code != _ALREADY_THERE:
        log.info("the store chooses its pages itself", action="pages_not_chosen", error=str(error)[:300])
