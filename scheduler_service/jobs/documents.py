"""YAML documents that list jobs: read without trusting them, with the line of everything; and written.

A document is a mapping with a list `jobs`. A text may have several, as exported pages put one behind the other have.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml
import yaml.constructor

from shared.domain.errors import InvalidInput, Violation
from shared.domain.text import excerpt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MOST_NODES: Final = 300_000
"""Keys, values, lists and mappings of a text, those that aliases repeat included: ten lines can stand for billions."""
DEEPEST: Final = 60
"""Lists and mappings in each other; readers of messages take a few more."""
MOST_JOBS: Final = 10_000
"""Of one text."""
LONGEST_NUMBER: Final = 400
"""Characters. The largest that a message can hold has 309 digits, and a long one to the base 60 takes minutes."""
LONGEST_PATH: Final = 250
"""Characters, of what has a line of its own in violations."""

_MERGE: Final = "tag:yaml.org,2002:merge"
_PLAIN: Final = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null"))
_NUMBERS: Final = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float"))
_MAPPING: Final = "tag:yaml.org,2002:map"
_LIST: Final = "tag:yaml.org,2002:seq"


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """Leaves times as the text they are, as JSON has them."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True)
class Entry:
    """What a document says of one job. lines: of its fields, by their paths as violations name them."""

    name: str
    values: Mapping[str, Any]
    lines: Mapping[str, int]

    def located(self, wrong: Violation, where: str) -> Violation:
        """Return a violation of this entry as one of the document, with the line that it is about."""
        path = wrong.field
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        line = self.lines[path]
        return Violation(f"{where}{self.name}.{wrong.field}".rstrip("."), f"line {line}: {wrong.description}")


def read_entries(text: str, where: str) -> list[Entry]:
    """Return the entries of a text, in its order. Raises InvalidInput; where: the field that it stands in."""
    _check(text, where)
    try:
        roots = list(_roots(text))
    except yaml.YAMLError as error:
        raise _unreadable(where, error) from error
    if not roots:
        raise InvalidInput([Violation(where, f"it is empty; {_EXPECTED}")])
    entries = [entry for root in roots for entry in _read(root, where)]
    if len(entries) > MOST_JOBS:
        raise InvalidInput([Violation(where, f"{len(entries):,} jobs are too many (at most {MOST_JOBS:,})")])
    return entries


_EXPECTED: Final = "expected only a list `jobs` of objects with the fields of a create request"


def _check(text: str, where: str) -> None:
    """Look at a text's events, which costs what its length is, before anything is built of it."""
    depth = nodes = 0
    try:
        for event in yaml.parse(text, _Loader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            nodes += isinstance(event, yaml.NodeEvent)
            if depth > DEEPEST or nodes > MOST_NODES:
                too = (
                    f"is nested more than {DEEPEST} deep" if depth > DEEPEST else f"has more than {MOST_NODES:,} values"
                )
                raise InvalidInput([Violation(where, f"line {_line(event)}: it {too}")])
    except yaml.YAMLError as error:
        raise _unreadable(where, error) from error


def _unreadable(where: str, error: yaml.YAMLError) -> InvalidInput:
    mark = getattr(error, "problem_mark", None)
    said = " ".join(str(getattr(error, "problem", None) or error).split())
    line = f"line {mark.line + 1}: " if mark else ""
    return InvalidInput([Violation(where, f"{line}it is not YAML that can be read: {excerpt(said)}")])


def _roots(text: str) -> Iterator[yaml.Node]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            yield loader.get_node()
    finally:
        loader.dispose()


def _read(root: yaml.Node, where: str) -> list[Entry]:
    """Return the entries of one document, whose values are as JSON has them."""
    reader = _Reader(where)
    document: Any = reader.value(root, "")
    entries = document.get("jobs") if isinstance(document, dict) else None
    if reader.found:
        raise InvalidInput(reader.found)
    if (
        not isinstance(entries, list)
        or not all(isinstance(entry, dict) for entry in entries)
        or not document.keys() <= {"jobs"}
    ):
        raise InvalidInput([Violation(where, f"line {_line(root)}: {_EXPECTED}")])
    lines = _by_entry(reader.lines)
    names = [f"jobs[{index}]" for index in range(len(entries))]
    return [
        Entry(str(entry.get("job_id") or name), entry, lines[name]) for name, entry in zip(names, entries, strict=True)
    ]


def _line(part: Any) -> int:
    """Return the line, from 1, in which an event or a node begins."""
    return int(part.start_mark.line) + 1


@dataclass(slots=True)
class _Reader:
    """Builds plain values of nodes, each as often as aliases name it, but not too many."""

    where: str
    found: list[Violation] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)
    nodes: int = 0
    depth: int = 0
    constructor: Any = field(default_factory=yaml.constructor.SafeConstructor)

    def value(self, node: yaml.Node, path: str) -> Any:
        self.nodes += 1
        line = _line(node)
        if self.nodes > MOST_NODES or self.depth > DEEPEST:
            said = f"aliases make it have more than {MOST_NODES:,} values, or more than {DEEPEST} in each other"
            raise InvalidInput([Violation(self.where, f"line {line}: {said}")])
        self.lines.setdefault(path, line)
        self.depth += 1
        try:
            # Of the kind too: a tag is the document's to choose, and `!!seq x` is no list.
            if isinstance(node, yaml.SequenceNode) and node.tag == _LIST:
                return [self.value(item, _below(path, f"[{index}]")) for index, item in enumerate(node.value)]
            if isinstance(node, yaml.MappingNode) and node.tag == _MAPPING:
                return self._mapping(node, path)
            return self._scalar(node)
        finally:
            self.depth -= 1

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Any]:
        """Return a mapping; what it merges (`<<: *usual`) gives way to what it says itself."""
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = _line(key_node)
            if key_node.tag == _MERGE:
                several = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                for each in several:
                    value = self.value(each, path)
                    if isinstance(value, dict):
                        merged = value | merged
                    else:
                        self._refuse(line, "<< needs a mapping, or a list of them")
                continue
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str) or not key:
                self._refuse(line, "a key has to be a text")
                continue
            if key in own:
                self._refuse(line, f"the key '{excerpt(key)}' is there twice")
            inside = _below(path, f".{key}" if path else key)
            if inside != path:
                self.lines[inside] = line
            own[key] = self.value(value_node, inside)
        return merged | own

    def _scalar(self, node: yaml.Node) -> Any:
        line = _line(node)
        if node.tag not in _PLAIN or not isinstance(node, yaml.ScalarNode):
            self._refuse(line, f"'{excerpt(node.tag)}' is not a kind of value that a job has")
            return None
        try:
            return self._constructed(node)
        except (ValueError, OverflowError, LookupError):
            self._refuse(line, f"'{excerpt(node.value)}' is not a value that can be read")
            return None

    def _constructed(self, node: yaml.ScalarNode) -> Any:
        if node.tag in _NUMBERS and len(node.value) > LONGEST_NUMBER:
            raise OverflowError
        value = self.constructor.construct_object(node)
        if isinstance(value, int):
            float(value)  # which is what JSON, and so a message, makes of it
        return value

    def _refuse(self, line: int, said: str) -> None:
        if len(self.found) < _MOST_FOUND:
            self.found.append(Violation(self.where, f"line {line}: {said}"))


_MOST_FOUND: Final = 100


def _below(path: str, part: str) -> str:
    """Return the path of a part. One that is too long has its parent's: a long key would be there for all below it."""
    return path + part if len(path) + len(part) <= LONGEST_PATH else path


def _by_entry(lines: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Return lines of fields by entry, as `jobs[3]`, and by their paths in it; that of the entry, by the empty path."""
    grouped: dict[str, dict[str, int]] = defaultdict(dict)
    for path, line in lines.items():
        entry, bracket, rest = path.partition("]")
        if bracket:
            grouped[entry + bracket][rest.removeprefix(".")] = line
    return grouped


# Writing:


class _Dumper(yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper):  # type: ignore[misc]
    """Writes what is there twice twice, without anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class's
        """Return whether something is written as often as it is there."""
        return True


def write_document(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return a document with these entries, which begins so that it can be put behind another one."""
    text: str = yaml.dump(
        {"jobs": list(entries)},
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        explicit_start=True,
        width=1_000_000,
    )
    return text
