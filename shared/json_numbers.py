"""What the numbers of JSON hold: a request's parameters are doubles, and a large whole number would be another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIRST_INEXACT: Final = 2**53


def inexact(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Return the path, and what is wrong, of each whole number in a value that a request does not hold exactly."""
    match value:
        case Mapping():
            for key, each in value.items():
                yield from inexact(each, f"{path}.{key}")
        case list():
            for index, each in enumerate(value):
                yield from inexact(each, f"{path}[{index}]")
        case int() if abs(value) >= _FIRST_INEXACT:
            yield path, f"{value} is too large for a JSON number, which is exact below 2^53; write it as a string"
