"""Filters and orders of lists: a subset of AIP-160 and AIP-132, as text and as values.

filter = [ conditions ]; conditions = part { ["AND"] part }; part = term { "OR" term }, all of one field and with =;
term = comparison | "(" conditions ")"; comparison = field operator value. docs/filters.md has it for people.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from shared.domain.clock import to_the_millisecond
from shared.domain.errors import InvalidInput, Violation
from shared.domain.execution import SHOWN_STATES, Trigger
from shared.domain.job import JobState, JobType
from shared.domain.text import closest, excerpt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LONGEST_FILTER: Final = 4_000
"""Characters."""
MOST_CONDITIONS: Final = 20
MOST_VALUES: Final = 50
"""Joined by OR."""
DEEPEST: Final = 10
"""Parentheses in each other."""


class Kind(Enum):
    """What a field holds, which decides what can be asked of it."""

    CHOICE = "one of a few words"
    TEXT = "a text"
    NAME = "a text that is also found by how it begins"
    TIME = "an instant"
    LABELS = "texts by their keys"


class Operator(StrEnum):
    """How a field is compared. PREFIX is written `= "text*"`, PRESENT `:*`."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="
    PREFIX = "*"
    PRESENT = ":"


POSSIBLE: Final[Mapping[Kind, tuple[Operator, ...]]] = {
    Kind.CHOICE: (Operator.EQUAL, Operator.NOT_EQUAL),
    Kind.TEXT: (Operator.EQUAL, Operator.NOT_EQUAL),
    Kind.NAME: (Operator.EQUAL, Operator.NOT_EQUAL),
    Kind.TIME: (Operator.LESS, Operator.AT_MOST, Operator.MORE, Operator.AT_LEAST),
    Kind.LABELS: (Operator.EQUAL, Operator.NOT_EQUAL, Operator.PRESENT),
}
"""How what a field holds can be compared."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field that a filter may name. words: of a choice; the prefix of enums' values in messages may be in front."""

    kind: Kind
    words: tuple[str, ...] = ()
    prefix: str = ""


Fields: TypeAlias = "Mapping[str, Field]"

JOB_FIELDS: Final[Fields] = {
    "job_id": Field(Kind.TEXT),
    "job_type": Field(Kind.CHOICE, tuple(JobType)),
    "state": Field(Kind.CHOICE, tuple(JobState), "STATE_"),
    "target_service": Field(Kind.TEXT),
    "target_method": Field(Kind.TEXT),
    "queue": Field(Kind.TEXT),
    "labels": Field(Kind.LABELS),
    "name": Field(Kind.NAME),
    "created_at": Field(Kind.TIME),
    "next_fire_time": Field(Kind.TIME),
}

EXECUTION_FIELDS: Final[Fields] = {
    "state": Field(Kind.CHOICE, SHOWN_STATES, "STATE_"),
    "trigger": Field(Kind.CHOICE, tuple(Trigger), "TRIGGER_"),
    "job_id": Field(Kind.TEXT),
    "queue": Field(Kind.TEXT),
    "target_service": Field(Kind.TEXT),
    "target_method": Field(Kind.TEXT),
    "group_id": Field(Kind.TEXT),
    "nominal_time": Field(Kind.TIME),
    "started_at": Field(Kind.TIME),
    "finished_at": Field(Kind.TIME),
}

_SAME: Final = {"create_time": "created_at"}
"""Other names of fields: those that the AIPs give to what every resource has."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison of a field; of labels, of the one with this key.

    values: texts, of which one has to be equal, or, with NOT_EQUAL, none. instant: in whole milliseconds, as the store
    keeps them.
    """

    field: str
    operator: Operator
    values: tuple[str, ...] = ()
    instant: datetime | None = None
    key: str = ""

    def __str__(self) -> str:
        name = f"{self.field}.{_quoted(self.key)}" if self.key else self.field
        if self.instant is not None:
            return f"{name} {self.operator} {_quoted(self.instant.isoformat())}"
        match self.operator:
            case Operator.PRESENT:
                return f"{name}:*"
            case Operator.PREFIX:
                return f'{name} = {_quoted(self.values[0])[:-1]}*"'
            case operator:
                either = " OR ".join(f"{name} {operator} {_quoted(value)}" for value in self.values)
                return f"({either})" if len(self.values) > 1 else either

    def holds(self, value: object) -> bool:
        """Return whether a field's value fits. None means that there is none, which fits nothing, as AIP-160 has it."""
        if value is None:
            return False
        if self.instant is not None:
            return isinstance(value, datetime) and _COMPARE[self.operator](value, self.instant)
        match self.operator:
            case Operator.PRESENT:
                return True
            case Operator.PREFIX:
                return str(value).startswith(self.values[0])
            case Operator.NOT_EQUAL:
                return value not in self.values
            case _:
                return value in self.values


_COMPARE: Final[Mapping[Operator, Callable[[datetime, datetime], bool]]] = {
    Operator.LESS: lambda value, instant: value < instant,
    Operator.AT_MOST: lambda value, instant: value <= instant,
    Operator.MORE: lambda value, instant: value > instant,
    Operator.AT_LEAST: lambda value, instant: value >= instant,
}


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions that all have to hold. Its text is a filter that means the same."""

    conditions: tuple[Condition, ...] = ()

    def __str__(self) -> str:
        return " AND ".join(str(condition) for condition in self.conditions)

    def on(self, name: str) -> tuple[Condition, ...]:
        """Return the conditions on a field."""
        return tuple(condition for condition in self.conditions if condition.field == name)

    def matches(self, values: Mapping[str, object]) -> bool:
        """Return whether something fits; values: of its fields, and of `labels` a mapping."""
        return all(condition.holds(_value(values, condition)) for condition in self.conditions)


def _value(values: Mapping[str, object], condition: Condition) -> object:
    value = values.get(condition.field)
    return value.get(condition.key) if condition.key and isinstance(value, dict) else value


def parse_filter(text: str, fields: Fields, where: str = "filter") -> Filter:
    """Return what a text asks for; the empty one, nothing. Raises InvalidInput; where: the field that it stands in."""
    if len(text) > LONGEST_FILTER:
        said = f"{len(text):,} characters are too many (at most {LONGEST_FILTER:,})"
        raise InvalidInput([Violation(where, said)])
    reader = _Reader(text, fields, where)
    if not text.strip():
        return Filter()
    conditions = reader.conditions(0)
    if not reader.at_end:
        reader.refuse(f"expected AND or the end, not {reader.rest}")
    if len(conditions) > MOST_CONDITIONS:
        reader.found.append(Violation(where, f"{len(conditions)} conditions are too many (at most {MOST_CONDITIONS})"))
    if reader.found:
        raise InvalidInput(reader.found)
    return Filter(tuple(conditions))


_SPACE: Final = re.compile(r"\s*")
_WORD: Final = re.compile(r"[^\W\d]\w*")
_KEY: Final = re.compile(r"[\w./-]+")
_OPERATOR: Final = re.compile(r"!=|<=|>=|=|<|>|:")
_BARE: Final = re.compile(r"""[^\s()"'=<>!,]+""")
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"|' + r"'(?:[^'\\]|\\.)*'", re.DOTALL)
_PIECE: Final = re.compile(r"\\(?P<escaped>.)|(?P<star>\*)|(?P<plain>[^\\*]+)", re.DOTALL)
_ESCAPES: Final = "\\\"'*"
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.IGNORECASE)
_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(slots=True)
class _Reader:
    """Reads a filter from left to right. What is no filter ends it; what is wrong in a comparison is collected."""

    text: str
    fields: Fields
    where: str
    position: int = 0
    found: list[Violation] = field(default_factory=list)

    @property
    def at_end(self) -> bool:
        self._take(_SPACE)
        return self.position == len(self.text)

    @property
    def rest(self) -> str:
        """What comes next, as a sentence quotes it."""
        return f"'{excerpt(self.text[self.position :])}'" if not self.at_end else "the end"

    def refuse(self, said: str) -> NoReturn:
        self.found.append(Violation(self.where, f"{said} (at character {self.position + 1})"))
        raise InvalidInput(self.found)

    def conditions(self, depth: int) -> list[Condition]:
        """Read conditions joined by AND, or by nothing, up to a closing parenthesis or the end."""
        read = self._part(depth)
        while not self.at_end and self.text[self.position] != ")":
            self._keyword("AND")
            read += self._part(depth)
        return read

    def _part(self, depth: int) -> list[Condition]:
        terms = [self._term(depth)]
        while self._keyword("OR"):
            terms.append(self._term(depth))
        if len(terms) == 1:
            return terms[0]
        first, *others = (term[0] if len(term) == 1 else None for term in terms)
        if (
            first is None
            or first.operator is not Operator.EQUAL
            or not all(
                other and (other.field, other.operator, other.key) == (first.field, first.operator, first.key)
                for other in others
            )
        ):
            self.refuse("OR joins only values of one field, as in state = ACTIVE OR state = PAUSED; ask twice instead")
        values = tuple(dict.fromkeys(value for (term,) in terms for value in term.values))
        if len(values) > MOST_VALUES:
            self.refuse(f"{len(values)} values of {first.field} are too many (at most {MOST_VALUES})")
        return [replace(first, values=values)]

    def _term(self, depth: int) -> list[Condition]:
        if self.at_end:
            self.refuse("expected a comparison, as state = ACTIVE, not the end")
        if self._keyword("NOT") or self.text[self.position] == "-":
            self.refuse("NOT can't be answered by an index; compare with !=, as state != PAUSED")
        if self.text[self.position] != "(":
            return [self._comparison()]
        if depth == DEEPEST:
            self.refuse(f"parentheses in parentheses are at most {DEEPEST} deep")
        self.position += 1
        inside = self.conditions(depth + 1)
        if self.at_end:
            self.refuse("a parenthesis is not closed")
        self.position += 1
        return inside

    def _comparison(self) -> Condition:
        name = self._take(_WORD)
        if not name:
            self.refuse(f"expected a field, as state, not {self.rest}")
        name = _SAME.get(name, name)
        known = self.fields.get(name)
        if known is None:
            meant = closest(name, self.fields)
            meant = f"; did you mean {meant}?" if meant else ""
            self._wrong(f"'{excerpt(name)}' can't be filtered by{meant} ({', '.join(self.fields)})")
        key = self._key()
        self._take(_SPACE)
        sign = self._take(_OPERATOR)
        if not sign:
            self.refuse(f"expected an operator after '{excerpt(name)}', as in state = ACTIVE, not {self.rest}")
        text, prefix = self._value()
        nothing = Condition(name, Operator.EQUAL, ("",), key=key)
        if known is None:
            return nothing
        if bool(key) is not (known.kind is Kind.LABELS):
            right = 'labels.team = "x" or labels.team:*' if known.kind is Kind.LABELS else name
            self._wrong(f"'{name}' {'needs' if known.kind is Kind.LABELS else 'has no'} keys: write {right}")
            return nothing
        operator = Operator(sign)
        if operator not in POSSIBLE[known.kind]:
            self._wrong(f"{name} can't be compared by {sign}, only by {' '.join(POSSIBLE[known.kind])}")
            return nothing
        return self._condition(Condition(name, operator, (text,), key=key), known, prefix=prefix)

    def _condition(self, read: Condition, known: Field, *, prefix: bool) -> Condition:
        """Return a comparison whose field and operator are right with the value that it means."""
        (text,) = read.values
        if read.operator is Operator.PRESENT:
            if not prefix or text:
                self._wrong(f"labels.{read.key}: asks by :* whether there is one; to compare it, write =")
            return replace(read, values=())
        if prefix and (known.kind is not Kind.NAME or read.operator is not Operator.EQUAL):
            self._wrong(r"a * at the end finds what begins so, which only `name =` can; write \* for the character")
        elif prefix:
            # Every text begins with the empty one: that there is a name is true of every job.
            return replace(read, operator=Operator.PREFIX)
        if known.kind is Kind.CHOICE:
            word = text.removeprefix(known.prefix)
            if word not in known.words:
                self._wrong(f"'{excerpt(text)}' is not a {read.field} ({', '.join(known.words)})")
            return replace(read, values=(word,))
        if known.kind is Kind.TIME:
            instant = _instant(text, up=read.operator in {Operator.AT_LEAST, Operator.LESS})
            if instant is None:
                said = f"{read.field}: '{excerpt(text)}' is not a time; expected RFC 3339, as 2030-01-31T08:00:00Z"
                self._wrong(said)
                return read
            return replace(read, values=(), instant=instant)
        return read

    def _key(self) -> str:
        if self.position == len(self.text) or self.text[self.position] != ".":
            return ""
        self.position += 1
        if self.position < len(self.text) and self.text[self.position] in "\"'":
            key, prefix = self._string()
            key += "*" if prefix else ""
        else:
            key = self._take(_KEY)
        if not key:
            self.refuse('expected a key after the dot, as labels.team or labels."my team"')
        return key

    def _value(self) -> tuple[str, bool]:
        """Read a value; return it, and whether a star follows it that means: whatever comes then."""
        self._take(_SPACE)
        if self.position < len(self.text) and self.text[self.position] in "\"'":
            return self._string()
        bare = self._take(_BARE)
        if not bare:
            self.refuse(f"expected a value, not {self.rest}; one with spaces or signs needs quotation marks")
        return self._pieces(bare)

    def _string(self) -> tuple[str, bool]:
        if not (quoted := self._take(_STRING)):
            self.refuse("a quotation mark is not closed")
        return self._pieces(quoted[1:-1])

    def _pieces(self, written: str) -> tuple[str, bool]:
        """Return what a text with escapes means, and whether a star ends it."""
        text, star, end = "", False, 0
        for piece in _PIECE.finditer(written):
            if star:
                self.refuse(r"a * means whatever comes, only at the end; write \* for the character")
            escaped = piece["escaped"]
            if escaped is not None and escaped not in _ESCAPES:
                self.refuse(rf"'\{escaped}' is not an escape (\\ \" \' \*)")
            star = piece["star"] is not None
            text += "" if star else escaped or piece["plain"] or ""
            end = piece.end()
        if end != len(written):
            self.refuse(r"a \ stands before what it escapes (\\ \" \' \*)")
        return text, star

    def _keyword(self, word: str) -> bool:
        """Take a keyword if it comes next."""
        self._take(_SPACE)
        following = _WORD.match(self.text, self.position)
        if following is None or following[0] != word:
            return False
        self.position = following.end()
        return True

    def _take(self, pattern: re.Pattern[str]) -> str:
        """Take what a pattern matches here; the empty text when it does not."""
        match = pattern.match(self.text, self.position)
        if match is None:
            return ""
        self.position = match.end()
        return match[0]

    def _wrong(self, said: str) -> None:
        self.found.append(Violation(self.where, said))


def _quoted(text: str) -> str:
    escaped = re.sub(r'([\\"*])', r"\\\1", text)
    return f'"{escaped}"'


def _instant(text: str, *, up: bool) -> datetime | None:
    """Read an instant, cut to the milliseconds that the store keeps; up: to the next one if it lies between two."""
    if not _TIME.fullmatch(text):
        return None
    try:
        instant = datetime.fromisoformat(text.upper()).astimezone(UTC)
        cut = to_the_millisecond(instant)
        return cut + _MILLISECOND if up and cut != instant else cut
    except (ValueError, OverflowError):
        return None


# Orders:


@dataclass(frozen=True, slots=True)
class Order:
    """By which field a list is sorted; what is equal in it, by id, in the same direction."""

    field: str
    descending: bool = False

    def __str__(self) -> str:
        return f"{self.field} desc" if self.descending else self.field


JOB_ORDERS: Final = (Order("created_at", descending=True), Order("name"), Order("next_fire_time"))
EXECUTION_ORDERS: Final = (Order("nominal_time", descending=True), Order("finished_at", descending=True))
"""The orders of the lists, each in the direction that it has unless asked for otherwise; the first is the default."""


def parse_order(text: str, orders: tuple[Order, ...], chosen: Filter) -> Order:
    """Return the order that a text asks for. Raises InvalidInput.

    Of the empty text it is that of a field which the filter is about, if there is one: so its index is read in order.
    """
    words = text.split()
    if not words:
        return next((order for order in orders[1:] if chosen.on(order.field)), orders[0])
    name = _SAME.get(words[0], words[0])
    known = {order.field for order in orders}
    if len(words) > 2 or name not in known or words[1:] not in ([], ["asc"], ["desc"]):  # noqa: PLR2004
        names = ", ".join(f"{order.field}, {order.field} desc" for order in orders)
        raise InvalidInput([Violation("order_by", f"'{excerpt(text)}' is not an order of this list ({names})")])
    return Order(name, descending=words[1:] == ["desc"])
