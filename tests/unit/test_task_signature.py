"""A task's parameters: what fits its function's signature, and what is said of what does not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from shared.domain.errors import InvalidInput
from shared.expressions import Placeholder
from shared.tasks.signature import Signature, SignatureError, what_is_not_json


class Customer(BaseModel):
    id: int
    name: str = "nobody"


def everything(a: int, b: str = "b", /, c: float = 1.5, *rest: int, flag: bool = False, **more: int) -> None: ...


def plain(param1: str, param2: int) -> None: ...


def rich(customer: Customer, when: datetime, tags: set[str] | None = None) -> None: ...


def free(anything, other=None): ...  # noqa: ANN001


def said(signature: Signature, parameters: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidInput) as refused:
        signature.read(parameters)
    return [str(violation) for violation in refused.value.violations]


def test_arguments_go_where_the_signature_has_them():
    signature = Signature(everything)
    assert signature.read({"a": 1}) == ([1, "b", 1.5], {"flag": False})
    assert signature.read({"a": 1, "rest": [7, 8], "flag": True, "x": 5}) == (
        [1, "b", 1.5, 7, 8],
        {"flag": True, "x": 5},
    ), "what stands before *rest is given by its default"


@pytest.mark.parametrize(
    ("args", "kwargs", "parameters"),
    [
        ((1,), {}, {"a": 1}),
        ((1, "x", 2, 3, 4), {"flag": True, "y": 1}, {"a": 1, "b": "x", "c": 2, "rest": [3, 4], "flag": True, "y": 1}),
    ],
)
def test_a_call_becomes_parameters_by_name_and_back(args: Any, kwargs: Any, parameters: dict[str, Any]):
    signature = Signature(everything)
    assert signature.bind(args, kwargs) == parameters
    assert signature.split(parameters) == (list(args), kwargs)


def test_values_are_what_the_annotations_make_of_json():
    (customer, when, tags), _ = Signature(rich).read(
        {"customer": {"id": "7"}, "when": "2026-01-31T08:00:00Z", "tags": ["a", "a"]}
    )
    assert (customer.id, customer.name) == (7, "nobody")
    assert when == datetime(2026, 1, 31, 8, tzinfo=UTC)
    assert tags == {"a"}


def test_a_caller_may_give_what_json_has_not():
    parameters = Signature(rich).bind((), {"customer": Customer(id=7), "when": datetime(2026, 1, 31, 8, tzinfo=UTC)})
    assert parameters == {"customer": {"id": 7, "name": "nobody"}, "when": "2026-01-31T08:00:00Z"}


def test_without_annotations_anything_fits():
    assert Signature(free).read({"anything": {"x": [1]}}) == ([{"x": [1]}, None], {})


def test_all_that_is_wrong_is_said_at_once():
    assert said(Signature(plain), {"param2": "forty", "parm1": 1, "extra": 2}) == [
        "parameters.param1: it is required",
        "parameters.param2: 'forty' does not fit: expected a valid integer, unable to parse string as an integer",
        "parameters.extra: it has no such parameter (it has param1, param2)",
        "parameters.parm1: it has no such parameter; did you mean param1? (it has param1, param2)",
    ]
    assert said(Signature(rich), {"customer": {"name": 1}, "when": "soon"}) == [
        "parameters.customer.id: {'name': 1} does not fit: Field required",
        "parameters.customer.name: 1 does not fit: expected a valid string",
        "parameters.when: 'soon' does not fit: expected a valid datetime or date, input is too short",
    ]
    assert said(Signature(everything), {"a": 1, "rest": 2, "z": "z"})[0] == "parameters.rest: 2 is not a list"


def test_what_is_known_only_later_fits_any_parameter_that_there_is():
    later = Placeholder("${item.id}")
    Signature(plain).check({"param1": later, "param2": 1})
    Signature(rich).check({"customer": {"id": later}, "when": later, "tags": [later]})
    with pytest.raises(InvalidInput) as refused:
        Signature(plain).check({"param1": later, "param2": "x", "param3": later})
    assert [violation.field for violation in refused.value.violations] == ["parameters.param2", "parameters.param3"]


@pytest.mark.parametrize(
    ("args", "kwargs", "sentence"),
    [
        ((1, 2, 3), {}, "parameters: too many positional arguments (it has param1, param2)"),
        ((), {"param3": 1}, "parameters: got an unexpected keyword argument 'param3' (it has param1, param2)"),
        (("x", object()), {}, "parameters: they can't be written as JSON: Unable to serialize unknown type"),
        (("x", float("nan")), {}, "parameters.param2: it is nan, and JSON has finite numbers only"),
        (("x",), {}, "parameters.param2: it is required"),
    ],
)
def test_a_call_that_does_not_fit_is_refused(args: Any, kwargs: Any, sentence: str):
    with pytest.raises(InvalidInput) as refused:
        Signature(plain).bind(args, kwargs)
    assert str(refused.value).startswith(sentence)


def test_a_signature_that_json_has_no_form_for_says_so():
    def strange(x: object, y: Signature) -> None: ...

    def unknown(x) -> None: ...  # noqa: ANN001

    unknown.__annotations__["x"] = "Nowhere"
    with pytest.raises(SignatureError, match="the annotation of y has no form in JSON"):
        Signature(strange)
    with pytest.raises(SignatureError, match="its annotations can't be resolved: name 'Nowhere' is not defined"):
        Signature(unknown)


def circle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "x", [1, (2, 3)], {"a": {"b": []}}])
def test_json_is_json(value: Any):
    assert what_is_not_json(value) is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"rows": [1, {"x": {1, 2}}]}, "the result.rows[1].x is of the type set, which JSON does not have"),
        (float("inf"), "the result is inf, and JSON has finite numbers only"),
        ({"a": {1: 2}}, "the result.a has the key 1, and JSON's keys are strings"),
        ("\ud800", "the result is a text that cannot be written as UTF-8"),
        (circle(), "the result is nested too deeply, or contains itself"),
    ],
)
def test_what_is_not_json_is_named_with_its_place(value: Any, said: str):
    assert what_is_not_json(value) == said
