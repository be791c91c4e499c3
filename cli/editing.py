"""A job in the user's editor."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from cli.documents import DocumentError, changes, read_job, write_job
from cli.exits import Exit, exit_of
from cli.output import plain
from cli.session import fail, on_terminal
from scheduler_client import InvalidInput, SchedulerError
from scheduler_client.calls.jobs import update
from shared.proto import scheduler_service_pb2 as pb

if TYPE_CHECKING:
    from cli.session import Session

HEAD: Final = """\
# The job {job_id}. Save and close to change it; leave it as it is, or empty, to change nothing.
# Its fields are those of ScheduledJob in the API.
"""

_BYTES: Final = "surrogateescape"
"""What is no UTF-8 stays as it was written, and is refused as no YAML; replaced, it would be another text."""


def edited(session: Session, job: pb.ScheduledJob) -> pb.UpdateScheduledJobResponse | None:
    """Have a job edited until the server takes it; return its answer, or None when nothing was changed.

    Ends the command when the user gives up, and when somebody else has changed the job; the text is kept then.
    """
    before = write_job(job)
    text = HEAD.format(job_id=job.job_id) + before
    while True:
        text = _in_editor(text, job.job_id)
        try:
            if not _without_comments(text):
                return None
            values, names = changes(read_job(before), read_job(text))
            if not names:
                return None
            values.etag = job.etag
            request = pb.UpdateScheduledJobRequest(job_id=job.job_id, job=values, update_mask=FieldMask(paths=names))
            return session.scheduler.call(update(request))
        except DocumentError as error:
            _ask_for_another_try(str(error), text, Exit.REFUSED)
        except InvalidInput as refused:
            _ask_for_another_try(refused.message, text, Exit.REFUSED)
        except SchedulerError as error:
            fail(f"{error.code.name}: {plain(error.message)}\nwhat you wrote is in {kept(text)}", exit_of(error))


def _in_editor(text: str, job_id: str) -> str:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ("vi" if on_terminal() else "")
    if not editor:
        fail("there is no terminal to edit on; set EDITOR to a command that changes the file it is given")
    with tempfile.TemporaryDirectory(prefix="schedctl-") as folder:
        file = Path(folder) / f"{job_id}.yaml"
        file.write_text(text, encoding="utf-8", errors=_BYTES)
        try:
            code = subprocess.run([*shlex.split(editor), str(file)], check=False).returncode  # noqa: S603 - the user's own
        except (OSError, ValueError) as error:
            fail(f"the editor {plain(editor)!r} can't be started: {plain(str(error))}; set EDITOR to another")
        if code:
            fail(f"the editor ended with {code}; nothing was changed")
        try:
            return file.read_text(encoding="utf-8", errors=_BYTES)
        except OSError as error:
            fail(f"what the editor left can't be read: {error.strerror}; nothing was changed")


def _without_comments(text: str) -> str:
    return "".join(line for line in text.splitlines() if not line.lstrip().startswith("#")).strip()


def _ask_for_another_try(why: str, text: str, code: Exit) -> None:
    typer.echo(plain(why), err=True)
    if not (on_terminal() and typer.confirm("Edit it again?", default=True, err=True)):
        fail(f"nothing was changed; what you wrote is in {kept(text)}", code)


def kept(text: str) -> Path:
    """Keep what somebody wrote in a file of its own; return where it is."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="schedctl-", suffix=".yaml", delete=False, encoding="utf-8", errors=_BYTES
    ) as file:
        file.write(text)
    return Path(file.name)
