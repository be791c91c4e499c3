"""Write `docs/api.md`, the reference of the scheduler's API, from the comments in `protos/`, or check that it is fresh.

`python -m dev.api_reference` writes, `python -m dev.api_reference --check` compares.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from dev.proto import PROTOS, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PAGE = ROOT / "docs" / "api.md"
FILES = (
    "scheduler_service.proto",
    "planning_service.proto",
    "target_service.proto",
    "statistics_service.proto",
    "admin_service.proto",
    "maintenance_service.proto",
)
"""In the order of the page; the messages of the others are the examples' own."""

HEAD = """# API reference

Written from the comments in [protos/](../protos) by `make proto`; change it there. All of it is in the package \
`scheduler.v1`, and can be asked of a running server by reflection.
"""

Comments: TypeAlias = "Mapping[tuple[int, ...], str]"
"""What stands before a thing of a file, by its path: see SourceCodeInfo.Location in descriptor.proto."""

_MESSAGES, _ENUMS, _SERVICES = 4, 5, 6
_FIELDS, _NESTED_MESSAGES, _NESTED_ENUMS, _VALUES, _METHODS = 2, 3, 4, 2, 2
"""Numbers of the fields of descriptor.proto that paths are made of."""

_WELL_KNOWN = "https://protobuf.dev/reference/protobuf/google.protobuf/#"
_SCALARS = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in FieldDescriptorProto.Type.items()
}  # fmt: skip


@dataclass(frozen=True)
class _Type:
    """A message or an enum, wherever it stands."""

    name: str
    """Without the package, as Execution.State."""
    descriptor: DescriptorProto | EnumDescriptorProto
    path: tuple[int, ...]


@dataclass
class _File:
    """A file, and what stands in it in its order."""

    descriptor: FileDescriptorProto
    comments: Comments
    types: list[_Type] = field(default_factory=list)

    def said(self, *path: int) -> str:
        """Return the comment of what is at a path, as one paragraph."""
        return " ".join(self.comments.get(path, "").split()).replace("|", "\\|")

    def lines(self, *path: int) -> str:
        """Return the comment of what is at a path, with its paragraphs and lists."""
        return "\n".join(line.removeprefix(" ") for line in self.comments.get(path, "").rstrip().splitlines())


def page() -> str:
    """Return the text of the reference."""
    files = _read()
    known = {f".{file.descriptor.package}.{each.name}": each.name for file in files for each in file.types}
    return "\n".join([HEAD, *(line for file in files for line in _file(file, known))]) + "\n"


def _read() -> list[_File]:
    well_known = str(resources.files("grpc_tools") / "_proto")
    google_rpc = str(Path(well_known).parent.parent)
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image"
        subprocess.run(
            [
                sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={PROTOS}", f"--proto_path={well_known}",
                f"--proto_path={google_rpc}", f"--descriptor_set_out={image}", "--include_source_info", *FILES,
            ],
            check=True,
        )  # fmt: skip
        described = {file.name: file for file in FileDescriptorSet.FromString(image.read_bytes()).file}
    files = []
    for name in FILES:
        descriptor = described[name]
        comments = {tuple(at.path): at.leading_comments for at in descriptor.source_code_info.location}
        file = _File(descriptor, comments)
        for number, message in enumerate(descriptor.message_type):
            file.types += _types(message, (_MESSAGES, number), "")
        file.types += [_Type(each.name, each, (_ENUMS, number)) for number, each in enumerate(descriptor.enum_type)]
        files.append(file)
    return files


def _types(message: DescriptorProto, path: tuple[int, ...], within: str) -> Iterator[_Type]:
    name = within + message.name
    yield _Type(name, message, path)
    for number, enum in enumerate(message.enum_type):
        yield _Type(f"{name}.{enum.name}", enum, (*path, _NESTED_ENUMS, number))
    for number, nested in enumerate(message.nested_type):
        if not nested.options.map_entry:
            yield from _types(nested, (*path, _NESTED_MESSAGES, number), f"{name}.")


def _file(file: _File, known: Mapping[str, str]) -> Iterator[str]:
    for number, service in enumerate(file.descriptor.service):
        yield from (f"## {service.name}", "", file.lines(_SERVICES, number), "")
        for index, method in enumerate(service.method):
            stream = "stream of " if method.server_streaming else ""
            asked, answered = _named(method.input_type, known), _named(method.output_type, known)
            yield from (f"### {method.name}", "", f"{asked} → {stream}{answered}", "")
            yield from (file.lines(_SERVICES, number, _METHODS, index), "")
    yield from (f"## Messages of {file.descriptor.name}", "")
    for each in file.types:
        yield from (f"### {each.name}", "", file.lines(*each.path), "")
        if isinstance(each.descriptor, EnumDescriptorProto):
            yield from ("| value | number | |", "| --- | --- | --- |")
            for index, value in enumerate(each.descriptor.value):
                yield f"| `{value.name}` | {value.number} | {file.said(*each.path, _VALUES, index)} |"
            yield ""
        elif each.descriptor.field:
            yield from ("| field | type | |", "| --- | --- | --- |")
            for index, one in enumerate(each.descriptor.field):
                said = file.said(*each.path, _FIELDS, index)
                yield f"| `{one.name}` | {_type(one, each.descriptor, known)} | {said} |"
            yield ""


def _type(one: FieldDescriptorProto, within: DescriptorProto, known: Mapping[str, str]) -> str:
    name = _named(one.type_name, known) if one.type_name else _SCALARS[one.type]
    entry = {nested.name: nested for nested in within.nested_type if nested.options.map_entry}.get(
        one.type_name.rpartition(".")[2]
    )
    if entry is not None:
        key, value = (_type(part, entry, known) for part in entry.field)
        return f"map of {key} to {value}"
    if one.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {name}"
    return f"optional {name}" if one.proto3_optional else name


def _named(full_name: str, known: Mapping[str, str]) -> str:
    """Return the name of a type, with a link to where it is described."""
    if full_name in known:
        name = known[full_name]
        return f"[{name}](#{name.lower().replace('.', '')})"
    short = full_name.rpartition(".")[2]
    return f"[{short}]({_WELL_KNOWN}{'-'.join(_words(short))})"


def _words(name: str) -> list[str]:
    """Return the words of a name in camel case, in lower case."""
    spaced = "".join(f" {char}" if char.isupper() else char for char in name)
    return spaced.lower().split()


def main() -> int:
    """Run the command line; 0 when the page is fresh, or was written."""
    parser = argparse.ArgumentParser(prog="python -m dev.api_reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is stale")
    text = page()
    if parser.parse_args().check:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
            print("stale: docs/api.md. Run `make proto` and commit the result.", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
