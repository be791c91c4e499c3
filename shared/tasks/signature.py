"""A task's parameters: JSON to what its function is called with, checked against the signature and its annotations."""

from __future__ import annotations

import inspect
import json
import math
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from shared.domain.errors import InvalidInput, Violation
from shared.domain.text import closest, excerpt
from shared.expressions import Placeholder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_MOST_VIOLATIONS: Final = 100
"""More are not looked for: a status has room for fewer."""
_MOST_NAMED: Final = 20


class SignatureError(Exception):
    """A function whose parameters can't be read from JSON; the message says why."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter, for people: its annotation as text, and the schema of its values in JSON.

    default: absent where it has none, or one that JSON does not have.
    """

    name: str
    annotation: str
    required: bool
    repeated: bool
    schema: Mapping[str, Any]
    default: tuple[Any, ...] = ()


class Signature:
    """The parameters of a function, by name: an object in JSON, as jobs have it.

    `*args` is a list under its name; `**kwargs` lets in names of any kind. A value is what pydantic makes of it in its
    lax mode: 42 also from "42", a datetime from RFC 3339, a model or dataclass from an object.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        """Read the signature. Raises SignatureError when an annotation can't be resolved, or has no form in JSON."""
        try:
            signature = inspect.signature(function)
            hints = get_type_hints(function, include_extras=True)
        except Exception as error:  # whatever an annotation raises when it is evaluated
            raise SignatureError(f"its annotations can't be resolved: {error}") from error
        self._parameters = signature.parameters
        self._signature = signature
        self._adapters = {name: _adapter(name, hints.get(name, Any)) for name in self._parameters}
        self._rest = self._named(inspect.Parameter.VAR_POSITIONAL)
        self._extra = self._named(inspect.Parameter.VAR_KEYWORD)
        self._known = [name for name in self._parameters if name != self._extra]

    @property
    def positional(self) -> int:
        """How many parameters may be given by their places."""
        by_place = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
        return sum(parameter.kind in by_place for parameter in self._parameters.values())

    @property
    def parameters(self) -> list[Parameter]:
        """The parameters, in their order; those of `**kwargs`, which may have any name, under `*`."""
        return [self._described(name, parameter) for name, parameter in self._parameters.items()]

    def _described(self, name: str, parameter: inspect.Parameter) -> Parameter:
        try:
            schema = self._adapters[name].json_schema()
        except PydanticUserError:  # as of a type that is read by a function of its own
            schema = {}
        default: tuple[Any, ...] = ()
        if parameter.default is not parameter.empty:
            with suppress(PydanticSerializationError, ValueError):
                default = (to_jsonable_python(parameter.default),)
        annotation = "" if parameter.annotation is parameter.empty else parameter.annotation
        return Parameter(
            "*" if name == self._extra else name,
            annotation if isinstance(annotation, str) else inspect.formatannotation(annotation),
            parameter.default is parameter.empty and name not in {self._rest, self._extra},
            name == self._rest,
            schema,
            default,
        )

    def bind(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], others: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the parameters, in JSON, of a call with these arguments; raises InvalidInput when they do not fit.

        others: parameters that stay as they are unless an argument takes their place.
        """
        try:
            bound = self._signature.bind_partial(*args, **kwargs)
        except TypeError as error:
            raise InvalidInput([Violation("parameters", f"{error} (it has {self._names()})")]) from error
        arguments = dict(bound.arguments)
        extra = arguments.pop(self._extra, {}) if self._extra else {}
        if both := sorted(arguments.keys() & extra.keys()):
            raise InvalidInput([Violation(f"parameters.{name}", "it is given twice") for name in both])
        parameters = {**(others or {}), **_jsonable({**arguments, **extra}, "parameters")}
        self.read(parameters)
        return parameters

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Check parameters as read does, but those that are known only later: of these only that there are such."""
        self.read(parameters, frozenset(name for name, value in parameters.items() if _is_known_later(value)))

    def read(
        self, parameters: Mapping[str, Any], later: frozenset[str] = frozenset()
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments that the function is called with; raises InvalidInput with all violations.

        later: names of parameters that are not looked at.
        """
        found: list[Violation] = []
        arguments: dict[str, Any] = {}
        for name, parameter in self._parameters.items():
            if name in later:
                continue
            if name in parameters and name != self._extra:
                arguments[name] = self._value(name, parameters[name], found)
            elif parameter.default is parameter.empty and name not in {self._rest, self._extra}:
                found.append(Violation(f"parameters.{name}", "it is required"))
        for name in sorted(parameters.keys() - set(self._known)):
            if self._extra is None:
                found.append(Violation(f"parameters.{excerpt(name)}", self._no_such(name)))
                continue
            if name in later:
                continue
            value = _read(self._adapters[self._extra], parameters[name], f"parameters.{excerpt(name)}", found)
            arguments.setdefault(self._extra, {})[name] = value
        if found:
            raise InvalidInput(found[:_MOST_VIOLATIONS])
        bound = inspect.BoundArguments(self._signature, OrderedDict(arguments))
        bound.apply_defaults()  # also those in the middle: what follows them may go by position only
        return list(bound.args), bound.kwargs

    def split(self, parameters: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return parameters as the arguments of a call, in JSON as they are."""
        arguments = {name: parameters[name] for name in self._known if name in parameters}
        if self._extra is not None:
            arguments[self._extra] = {name: parameters[name] for name in parameters.keys() - set(self._known)}
        bound = inspect.BoundArguments(self._signature, OrderedDict(arguments))
        return list(bound.args), bound.kwargs

    def _value(self, name: str, given: Any, found: list[Violation]) -> Any:
        path = f"parameters.{name}"
        if name != self._rest:
            return _read(self._adapters[name], given, path, found)
        if not isinstance(given, list):
            found.append(Violation(path, f"{_shown(given)} is not a list"))
            return ()
        return tuple(_read(self._adapters[name], item, f"{path}[{index}]", found) for index, item in enumerate(given))

    def _named(self, kind: inspect._ParameterKind) -> str | None:
        return next((name for name, parameter in self._parameters.items() if parameter.kind is kind), None)

    def _no_such(self, name: str) -> str:
        close = closest(name, self._known)
        meant = f"; did you mean {close}?" if close else ""
        return f"it has no such parameter{meant} (it has {self._names()})"

    def _names(self) -> str:
        more = len(self._known) - _MOST_NAMED
        return ", ".join([*self._known[:_MOST_NAMED], *([f"and {more} more"] if more > 0 else [])]) or "none"


def plain(arguments: Mapping[str, Any], field: str) -> dict[str, Any]:
    """Return arguments in JSON, without a look at a signature. Raises InvalidInput on the field, or in it."""
    made = _jsonable(arguments, field)
    if (wrong := not_json(made, field)) is not None:
        raise InvalidInput([wrong])
    return made


def _jsonable(arguments: Mapping[str, Any], field: str) -> dict[str, Any]:
    try:
        made: dict[str, Any] = to_jsonable_python(dict(arguments), inf_nan_mode="constants")
    except (PydanticSerializationError, ValueError) as error:
        raise InvalidInput([Violation(field, f"they can't be written as JSON: {error}")]) from error
    return made


def _is_known_later(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_is_known_later, value.values()))
    return isinstance(value, Placeholder) or (isinstance(value, list) and any(map(_is_known_later, value)))


def _adapter(name: str, hint: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(hint)
    except PydanticUserError as error:
        said = str(error.message).partition("\n")[0]
        raise SignatureError(f"the annotation of {name} has no form in JSON: {said}") from error


def _read(kind: TypeAdapter[Any], given: Any, path: str, found: list[Violation]) -> Any:
    if (wrong := not_json(given, path)) is not None:
        found.append(wrong)
        return None
    try:
        return kind.validate_json(json.dumps(given))
    except ValidationError as refused:
        for error in refused.errors(include_url=False, include_context=False):
            where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
            said = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            expected = "expected " if error["msg"].startswith("Input should be ") else ""
            found.append(Violation(path + where, f"{_shown(error['input'])} does not fit: {expected}{said}"))
    return None


def _shown(value: Any) -> str:
    return excerpt(repr(value))


def what_is_not_json(value: Any) -> str | None:
    """Return where a result is not JSON, and why; None when all of it is: finite numbers, names that are strings."""
    where, said = _first_unfit(value, "the result")
    return f"{where} {said}" if said else None


def not_json(value: Any, path: str) -> Violation | None:
    """Return where what a caller gives is not JSON, and why; None when all of it is."""
    where, said = _first_unfit(value, path)
    return Violation(where, f"it {said}") if said else None


def _first_unfit(value: Any, path: str) -> tuple[str, str]:
    """Return the place of the first thing that is not JSON, and what is said of it: nothing when there is none."""
    try:
        return next(_unfit(value, path), (path, ""))
    except RecursionError:
        return path, "is nested too deeply, or contains itself"


def _unfit(value: Any, path: str) -> Iterator[tuple[str, str]]:
    match value:
        case None | bool():
            return
        case int() | float() if said := _unfit_number(value):
            yield path, f"is {said}"
        case str() if not _is_text(value):
            yield path, "is a text that cannot be written as UTF-8"
        case str() | int() | float():
            return
        case list() | tuple():
            for index, item in enumerate(value):
                yield from _unfit(item, f"{path}[{index}]")
        case dict() if odd := [key for key in value if not isinstance(key, str) or not _is_text(key)]:
            yield path, f"has the key {_shown(odd[0])}, and JSON's keys are strings"
        case dict():
            for key, item in value.items():
                yield from _unfit(item, f"{path}.{excerpt(key)}")
        case _:
            yield path, f"is of the type {type(value).__qualname__}, which JSON does not have"


def _unfit_number(number: Any) -> str:
    if isinstance(number, float):
        return "" if math.isfinite(number) else f"{number}, and JSON has finite numbers only"
    try:
        int.__repr__(number)
    except ValueError:  # see sys.set_int_max_str_digits
        return "a number of more digits than can be written"
    return ""


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
