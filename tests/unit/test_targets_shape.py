"""What is told of a method's request: its fields, their comments, and an example that fits."""

from __future__ import annotations

from datetime import datetime, timedelta  # noqa: TC003 - annotations that are evaluated
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from celery import Celery
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_tools import protoc  # type: ignore[import-untyped]
from pydantic import BaseModel, Field

from scheduler_service.targets.shapes import shapes_of_tasks
from shared.domain.errors import InvalidInput
from shared.targets import Contract, Target
from shared.targets.comments import comments
from shared.targets.compiled import compiled_contract, compiled_services
from shared.targets.shape import example, request_fields
from shared.tasks import shape as task_shape
from shared.tasks.registry import Tasks
from shared.tasks.signature import Signature
from shared.tasks.task import LedgeredTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.targets import Method

PROTOS = Path(__file__).parents[2] / "protos"
OPTIONAL, REQUIRED, REPEATED = (
    FieldDescriptorProto.LABEL_OPTIONAL,
    FieldDescriptorProto.LABEL_REQUIRED,
    FieldDescriptorProto.LABEL_REPEATED,
)


def every_method() -> list[Any]:
    found = []
    for service in sorted(compiled_services()):
        contract = compiled_contract(Target(service, "x.example:1", (service,)))
        assert contract is not None
        found += [pytest.param(method, id=method.full_name) for method in contract.methods]
    return found


@pytest.mark.parametrize("method", every_method())
def test_the_example_of_every_method_fits_its_request_and_has_something_in_it(method: Method) -> None:
    made = example(method)
    assert made is not None
    method.request(made)
    assert bool(made) == bool(method.input.fields)


def contract(syntax: str, *fields: tuple[str, int, Any]) -> Contract:
    """Return a contract with one method, whose request has these fields: name, label, and type or message."""
    file = FileDescriptorProto(name="shop.proto", package="shop", syntax=syntax)
    order = file.message_type.add(name="Order")
    for number, (name, label, kind) in enumerate(fields, 1):
        field = order.field.add(name=name, number=number, label=label)
        if isinstance(kind, str):
            field.type_name = kind
        else:
            field.type = kind
    file.service.add(name="Shop").method.add(name="Sell", input_type=".shop.Order", output_type=".shop.Order")
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return Contract("shop", [pool.FindServiceByName("shop.Shop")], pool)


def paths(method: Method) -> Sequence[str]:
    return [field.path for field in request_fields(method, {})]


def test_a_message_that_is_in_itself_is_described_once_and_has_an_example() -> None:
    (sell,) = contract("proto3", ("name", OPTIONAL, 9), ("parts", REPEATED, ".shop.Order")).methods
    assert paths(sell) == ["name", "parts"]
    assert example(sell) == {"name": "text", "parts": [{"name": "text", "parts": [{"name": "text"}]}]}


def test_a_request_that_nothing_can_fit_has_no_example() -> None:
    (sell,) = contract("proto2", ("part", REQUIRED, ".shop.Order")).methods
    assert example(sell) is None
    assert request_fields(sell, {})[0].required


def test_contracts_that_differ_in_a_field_have_other_fingerprints() -> None:
    one = contract("proto3", ("name", OPTIONAL, 9))
    same = contract("proto3", ("name", OPTIONAL, 9))
    other = contract("proto3", ("nom", OPTIONAL, 9))
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_comments_are_those_of_the_protos(tmp_path: Path) -> None:
    out = tmp_path / "all.binpb"
    command = [
        "protoc", f"-I{PROTOS}", "--include_source_info", f"--descriptor_set_out={out}", "target_service.proto",
    ]  # fmt: skip
    include = str(Path(protoc.__file__).parent / "_proto")
    assert protoc.main([*command, f"-I{include}"]) == 0
    found = comments(FileDescriptorSet.FromString(out.read_bytes()).file)
    assert found["scheduler.v1.TargetService.ListTargets"] == "Returns all targets, by name."
    assert found["scheduler.v1.RegisterTargetRequest.address"] == "See Target.address. Required."
    assert found["scheduler.v1.TestTargetResponse.Misfit.job_id"] == "The job."
    described = compiled_contract(Target("scheduler-service", "x.example:1", ("scheduler.v1.TargetService",)))
    assert described is not None
    for method in described.methods:
        assert all(field.comment for field in request_fields(method, found)), method.name


class Item(BaseModel):
    count: int = Field(ge=5)
    tags: list[str]
    part: Item | None = None


def order(
    name: str,
    at_least: Annotated[int, Field(gt=3)],
    item: Item,
    when: datetime,
    kind: Literal["x", "y"],
    span: timedelta,
    *rest: int,
    note: str = "none",
    **more: float,
) -> None: ...


def test_the_example_of_a_task_fits_it() -> None:
    signature = Signature(order)
    made = task_shape.example(signature)
    assert made is not None
    signature.check(made)
    assert made["note"] == "none"
    assert [each.name for each in signature.parameters if each.required] == [
        "name", "at_least", "item", "when", "kind", "span",
    ]  # fmt: skip
    assert next(each for each in signature.parameters if each.name == "kind").schema["enum"] == ["x", "y"]


def tasks(function: Any) -> Tasks:
    app: Any = Celery(set_as_current=False, task_cls=LedgeredTask)
    task = app.task(name="shop.order")(function)
    return Tasks({task.name: task})


def test_a_task_is_described_by_its_signature_and_docstring() -> None:
    def sell(name: str, count: int = 2, **more: float) -> None:
        """Sell something.

        At once.
        """

    (shape,) = shapes_of_tasks(tasks(sell), "")
    assert (shape.name, shape.callable, shape.comment) == ("shop.order", True, "Sell something. At once.")
    assert [(field.path, field.type, field.required) for field in shape.fields] == [
        ("name", "str", True),
        ("count", "int", False),
        ("*", "float", False),
    ]
    assert dict(shape.example) == {"name": "text", "count": 2}
    with pytest.raises(InvalidInput, match=r"'shop\.oder' is not a method"):
        shapes_of_tasks(tasks(sell), "shop.oder")


def test_tasks_that_take_other_calls_have_other_fingerprints() -> None:
    def sell(name: str) -> None: ...

    def sell_some(name: str, count: int) -> None: ...

    assert task_shape.fingerprint(tasks(sell)) == task_shape.fingerprint(tasks(sell))
    assert task_shape.fingerprint(tasks(sell)) != task_shape.fingerprint(tasks(sell_some))


def test_a_task_whose_values_no_example_is_found_for_has_none() -> None:
    def coded(code: Annotated[str, Field(pattern="^[0-9]{13}$")]) -> None: ...

    assert task_shape.example(Signature(coded)) is None
