"""Placeholders: what stands in checked parameters for a value that is known only later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.expressions.kinds import Kind


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A value of a kind (None: of any) that an expression will give. text: how that is written, as `${item.id}`."""

    text: str
    kind: Kind | None = None
