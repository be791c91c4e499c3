"""The sources, which are made up: each has posts for every quarter of an hour, the same whenever it is asked."""

from datetime import datetime
from hashlib import sha256
from typing import Final

PLUGINS: Final = ("reddit", "hackernews", "mastodon", "lemmy")
POSTS: Final = 20
"""That a source has for a quarter of an hour, and on a page of its archive."""

_TOPICS: Final = ("python", "rust", "rockets", "recipes", "gardens", "chess", "films", "trains")
_BUSY: Final = {"mastodon": 1}
"""How often a source answers too late at first, so that there is a retry to be seen."""


class UnknownPluginError(LookupError):
    """There is no plugin of this name."""


class BusyError(Exception):
    """The source can't answer now."""


async def newest(plugin: str, until: datetime, attempt: int) -> list[str]:
    """Return the posts of the quarter of an hour before an instant. Raises BusyError, UnknownPluginError."""
    if attempt <= _BUSY.get(plugin, 0):
        raise BusyError(f"{plugin} has too much to do")
    return _posts(plugin, f"{until:%Y-%m-%dT%H}:{until.minute // 15 * 15:02}")


async def archived(plugin: str, page: int) -> list[str]:
    """Return a page of a source's archive. Raises UnknownPluginError."""
    return _posts(plugin, f"page {page}")


def _posts(plugin: str, when: str) -> list[str]:
    if plugin not in PLUGINS:
        raise UnknownPluginError(f"there is no plugin {plugin} (known: {', '.join(PLUGINS)})")
    digests = (sha256(f"{plugin}/{when}/{number}".encode()).digest() for number in range(POSTS))
    return [f"{_TOPICS[digest[0] % len(_TOPICS)]} and {_TOPICS[digest[1] % len(_TOPICS)]}" for digest in digests]
