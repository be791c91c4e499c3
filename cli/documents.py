"""Jobs as YAML that people write: the form of config/jobs.yaml, one job or a list."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import typer
import yaml
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.struct_pb2 import Struct

from cli.output import as_yaml, plain
from cli.session import fail
from scheduler_client.values import with_ints
from shared.json_numbers import inexact
from shared.proto import scheduler_service_pb2 as pb

if TYPE_CHECKING:
    from pathlib import Path

FIELDS: Final = [
    name
    for name in pb.CreateScheduledJobRequest.DESCRIPTOR.fields_by_name
    if name in pb.ScheduledJob.DESCRIPTOR.fields_by_name and name != "job_id"
]
"""What a client says of a job: what stands in its document, and can be changed."""


class DocumentError(Exception):
    """The text is no job; the text of the error says why."""


class _Loader(yaml.SafeLoader):
    """Leaves times as the text they are, as JSON has them, and hides no value behind another of the same key."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return a mapping as it is written; raise DocumentError for a key that is there twice."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        found: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in found:
                raise DocumentError(f"line {key.start_mark.line + 1}: the key '{key.value}' is there twice")
            found.add(key.value)
        return node


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_file(path: Path) -> str:
    """Return a file's text, or that of standard input for `-`. Ends the command when it cannot be read.

    It is UTF-8 also where a terminal has another encoding, by which it would be another text.
    """
    try:
        return (sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()).decode()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{plain(str(path))} can't be read: {plain(getattr(error, 'strerror', None) or str(error))}")


def json_object(text: str) -> Struct:
    """Read parameters as they are typed."""
    try:
        struct: Struct = _parsed(json.loads(text, object_pairs_hook=_members), Struct())
    except (ValueError, DocumentError) as error:
        raise typer.BadParameter(f"it is no JSON object: {error}") from None
    return struct


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise DocumentError(f"the key '{key}' is there twice")
        found[key] = value
    return found


def write_job(job: pb.ScheduledJob) -> str:
    """Return what a client says of a job, in the order of the API."""
    values = with_ints(MessageToDict(job, preserving_proto_field_name=True))
    return as_yaml({name: values[name] for name in FIELDS if name in values})


def write_request(request: pb.CreateScheduledJobRequest) -> str:
    """Return what a request says of a job, for `create -f`."""
    values = with_ints(MessageToDict(request, preserving_proto_field_name=True))
    return as_yaml({name: values[name] for name in ("job_id", *FIELDS) if name in values})


def read_job(text: str) -> dict[str, Any]:
    """Return the fields of one job's document; raise DocumentError when it is none."""
    job, *others = read_jobs(text)
    if others:
        raise DocumentError("it holds several jobs")
    return job


def read_jobs(text: str) -> list[dict[str, Any]]:
    """Return the fields of each job of a document, at least one; raise DocumentError when it is none."""
    try:
        found = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise DocumentError(f"it is not YAML: {' '.join(str(error).split())}") from error
    jobs = found["jobs"] if isinstance(found, dict) and isinstance(found.get("jobs"), list) else [found]
    if not jobs or not all(isinstance(job, dict) for job in jobs):
        raise DocumentError("expected the fields of a job, as `name: Nightly`, or a list of such, `jobs`")
    return [_with_texts(job) for job in jobs]


def create_request(values: dict[str, Any]) -> pb.CreateScheduledJobRequest:
    """Return the request that a job's document asks for; raise DocumentError for fields that no job has."""
    request: pb.CreateScheduledJobRequest = _parsed(values, pb.CreateScheduledJobRequest())
    return request


def changes(before: dict[str, Any], after: dict[str, Any]) -> tuple[pb.ScheduledJob, list[str]]:
    """Return the new values of the fields that differ between two documents, and their names."""
    names = [name for name in {**before, **after} if _text(before.get(name)) != _text(after.get(name))]
    unknown = [name for name in names if name not in FIELDS]
    if unknown:
        raise DocumentError(f"no such field, or none that can be changed: {', '.join(unknown)}")
    return _parsed({name: after[name] for name in names if name in after}, pb.ScheduledJob()), names


def _text(value: Any) -> str:
    """Write a value so that true differs from 1, which is equal to it in Python."""
    text: str = yaml.safe_dump(value)
    return text


def _parsed(values: dict[str, Any], message: Any) -> Any:
    try:
        ParseDict(values, message)
    except (OverflowError, ParseError) as error:
        raise DocumentError(" ".join(str(error).split())) from error
    for _, said in inexact(values):
        raise DocumentError(said)
    return message


def _with_texts(job: dict[str, Any]) -> dict[str, Any]:
    """Return a job with its schedule's terms as text: in YAML, `hour: 8` is natural, and a number."""
    schedule = job.get("schedule_config")
    config = schedule.get("config") if isinstance(schedule, dict) else None
    if not isinstance(schedule, dict) or not isinstance(config, dict):
        return job
    texts = {
        str(key): str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
        for key, value in config.items()
    }
    return {**job, "schedule_config": {**schedule, "config": texts}}
