"""What protos say of their methods and fields: the comments that a target's reflection gives, if it gives them.

Most servers' generated code has none. Descriptors forget them, so they are taken from the files as they are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

LONGEST: Final = 1_000

# Numbers of the fields in descriptor.proto, of which the path of a comment is made:
_MESSAGES: Final = 4
_SERVICES: Final = 6
_FIELDS: Final = 2
_NESTED: Final = 3
_METHODS: Final = 2


def comments(files: Iterable[FileDescriptorProto]) -> dict[str, str]:
    """Return the comments by the full names of fields and methods, as shop.v1.Order.count and shop.v1.Shop.Sell."""
    found: dict[str, str] = {}
    for file in files:
        said = {tuple(place.path): place for place in file.source_code_info.location}
        for path, name in _places(file):
            if (place := said.get(path)) is not None:
                text = " ".join(f"{place.leading_comments} {place.trailing_comments}".split())
                if text:
                    found[name] = text[:LONGEST]
    return found


def _places(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    package = f"{file.package}." if file.package else ""
    for number, message in enumerate(file.message_type):
        yield from _within(message, (_MESSAGES, number), f"{package}{message.name}")
    for number, service in enumerate(file.service):
        for index, method in enumerate(service.method):
            yield (_SERVICES, number, _METHODS, index), f"{package}{service.name}.{method.name}"


def _within(message: DescriptorProto, path: tuple[int, ...], name: str) -> Iterator[tuple[tuple[int, ...], str]]:
    for index, field in enumerate(message.field):
        yield (*path, _FIELDS, index), f"{name}.{field.name}"
    for index, nested in enumerate(message.nested_type):
        yield from _within(nested, (*path, _NESTED, index), f"{name}.{nested.name}")
