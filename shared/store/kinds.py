"""Whether fields of a document are of the kind that all code takes them for; changed by hand, each may be anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def require_kinds(document: Mapping[str, Any], needed: Mapping[str, type], optional: Mapping[str, type]) -> None:
    """Raise KeyError when a field that is needed is not there, and TypeError when one is of another kind.

    needed, optional: the kinds, by the field's name.
    """
    for name, kind in needed.items():
        if not isinstance(document[name], kind):
            raise _another_kind(document, name, kind)
    for name, kind in optional.items():
        if name in document and not isinstance(document[name], kind):
            raise _another_kind(document, name, kind)


def _another_kind(document: Mapping[str, Any], name: str, kind: type) -> TypeError:
    return TypeError(f"{name} is {document[name]!r:.100}, which is no {kind.__name__}")
