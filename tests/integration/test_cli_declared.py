"""`schedctl apply`, `diff` and `export`: jobs as a file under version control."""

from __future__ import annotations

import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import yaml

from cli.documents import read_file
from scheduler_client import SchedulerClient, SchedulerError
from scheduler_client.errors import Details
from tests.integration.test_cli_harness import schedctl

if TYPE_CHECKING:
    from tests.integration.test_server_harness import Running

PRUNE = ("--prune", "--prune-filter", 'labels.team = "pricing"')


def job(job_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "name": "Prices",
        "job_type": "SCRAPING",
        "target_service": "scraper-service",
        "target_method": "ScrapeCompetitorPrices",
        "schedule_config": {"type": "cron", "config": {"expression": "0 8 * * *"}},
        "labels": {"team": "pricing"},
        **fields,
    }


def written(folder: Path, *jobs: dict[str, Any]) -> str:
    file = folder / "jobs.yaml"
    file.write_text(yaml.safe_dump({"jobs": list(jobs)}))
    return str(file)


async def test_jobs_become_as_the_file_says_and_then_there_is_no_difference(server: Running, tmp_path: Path) -> None:
    file = written(tmp_path, job("one"), job("two"))
    told = await schedctl(server, "diff", "-f", file)
    assert (told.code, told.lines) == (1, ["+ create one", "+ create two", "2 differ, 0 are as the file says"])
    assert (await schedctl(server, "jobs", "list")).out == "", "a difference is shown, not made"
    told = await schedctl(server, "apply", "-f", file)
    assert (told.code, told.lines[-1]) == (0, "2 changed, 0 were as the file says")
    told = await schedctl(server, "diff", "-f", file)
    assert (told.code, told.lines) == (0, ["0 differ, 2 are as the file says"])
    assert (await schedctl(server, "apply", "-f", file)).lines == ["0 changed, 2 were as the file says"]


async def test_what_differs_is_told_field_by_field(server: Running, tmp_path: Path) -> None:
    await schedctl(server, "apply", "-f", written(tmp_path, job("one")))
    told = await schedctl(server, "diff", "-f", written(tmp_path, job("one", description="new")))
    assert told.code == 1
    assert told.lines[0] == "~ update one"
    assert told.lines[1].strip().startswith("description: ")
    assert told.lines[-1] == "1 differs, 0 are as the file says"
    (change,) = (await schedctl(server, "diff", "-f", written(tmp_path, job("one", name="New")), "-o", "json")).json
    assert (change["job_id"], change["action"]) == ("one", "ACTION_UPDATE")


async def test_pruning_shows_and_asks_before_it_deletes(server: Running, tmp_path: Path) -> None:
    await schedctl(server, "apply", "-f", written(tmp_path, job("one"), job("two"), job("other", labels={})))
    file = written(tmp_path, job("one"))
    told = await schedctl(server, "diff", "-f", file, *PRUNE)
    assert (told.code, told.lines[0]) == (1, "- delete two")
    told = await schedctl(server, "apply", "-f", file, *PRUNE)
    assert (told.code, told.out) == (2, "")
    assert "Delete 1 job that is not in " in told.err
    assert set((await schedctl(server, "jobs", "list", "-o", "name")).lines) == {"one", "two", "other"}
    assert (await schedctl(server, "apply", "-f", file, *PRUNE, "--yes")).code == 0
    assert set((await schedctl(server, "jobs", "list", "-o", "name")).lines) == {"one", "other"}


@pytest.mark.parametrize("shown", [True, False])
async def test_nothing_is_pruned_that_was_not_shown_or_has_changed_since(
    server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, shown: bool
) -> None:
    there = [job("one"), job("two"), job("three")] if shown else [job("one")]
    await schedctl(server, "apply", "-f", written(tmp_path, *there))
    file = written(tmp_path, job("one"))

    imports = SchedulerClient.import_jobs

    def plans_and_others_make_changes(scheduler: SchedulerClient, *given: Any, **how: Any) -> Any:
        import_jobs = imports.__get__(scheduler, SchedulerClient)
        planned = import_jobs(*given, **how)
        if how.get("validate_only"):
            import_jobs(yaml.safe_dump({"jobs": [job("new")]}))
            if shown:
                scheduler.update_job("three", labels={"team": "analysis"})
        return planned

    monkeypatch.setattr(SchedulerClient, "import_jobs", plans_and_others_make_changes)
    told = await schedctl(server, "apply", "-f", file, *PRUNE, typed="y\n")
    left = set((await schedctl(server, "jobs", "list", "-o", "name")).lines)
    assert left == {"one", "new", *(["three"] if shown else [])}
    if shown:
        assert told.code == 2
        assert "three: the job 'three' has changed since" in told.err
        assert told.lines[-1] == "1 changed, 1 failed, 1 was as the file says"
    else:
        assert (told.code, told.lines) == (0, ["0 changed, 1 was as the file says"])


async def test_a_deletion_that_fails_keeps_nothing_from_being_told(
    server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await schedctl(server, "apply", "-f", written(tmp_path, job("one"), job("two"), job("three"), job("four")))
    deletes = SchedulerClient.delete_job

    def refuses_one(scheduler: SchedulerClient, job_id: str, **how: Any) -> Any:
        if job_id == "two":
            raise SchedulerError(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many changes wait", Details.of(b""))
        delete_job = deletes.__get__(scheduler, SchedulerClient)
        if job_id == "three":
            delete_job(job_id)  # somebody else does
        return delete_job(job_id, **how)

    monkeypatch.setattr(SchedulerClient, "delete_job", refuses_one)
    told = await schedctl(server, "apply", "-f", written(tmp_path, job("one")), *PRUNE, typed="y\n")
    assert (told.code, "two: too many changes wait" in told.err) == (2, True)
    assert told.lines[-1] == "2 changed, 1 failed, 1 was as the file says"
    assert set((await schedctl(server, "jobs", "list", "-o", "name")).lines) == {"one", "two"}


async def test_a_file_with_a_mistake_changes_nothing(server: Running, tmp_path: Path) -> None:
    file = written(tmp_path, job("one"), job("two", target_method="Nothing"))
    told = await schedctl(server, "apply", "-f", file)
    assert (told.code, "Nothing" in told.err) == (4, True)
    assert (await schedctl(server, "jobs", "list")).out == ""
    assert (await schedctl(server, "apply", "-f", "nowhere.yaml")).code == 2


async def test_what_is_exported_can_be_applied(server: Running, tmp_path: Path) -> None:
    await schedctl(server, "apply", "-f", written(tmp_path, job("one"), job("two", labels={})))
    file = tmp_path / "exported.yaml"
    told = await schedctl(server, "export", "-f", str(file))
    assert (told.code, told.out, told.err) == (0, "", f"2 jobs written to {file}\n")
    assert [each["job_id"] for each in yaml.safe_load(file.read_text())["jobs"]] == ["one", "two"]
    assert (await schedctl(server, "diff", "-f", str(file))).code == 0
    told = await schedctl(server, "export", "--filter", 'labels.team = "pricing"')
    assert told.out.startswith("---\n"), "what is put behind it is a document of its own"
    assert [each["job_id"] for each in yaml.safe_load(told.out)["jobs"]] == ["one"]
    assert (await schedctl(server, "diff", "-f", "-", typed=told.out)).code == 0


async def test_what_is_printed_is_what_the_jobs_say(server: Running, tmp_path: Path) -> None:
    # Rich knows emojis by such names. Spaces that do not break and what joins characters count as not printable, as
    # what steers a terminal does, but YAML writes them without quotation marks, where a backslash is a backslash.
    said = {
        "description": ":id: a\u00a0b\u200dc",
        "parameters": {"competitor_ids": ["urn:id:42", ":fire: a\u3000b", "\x1b[31m", "a\u2028b"]},
    }
    applied = await schedctl(server, "apply", "-f", written(tmp_path, job("one", **said)))
    assert applied.code == 0, applied.err
    told = await schedctl(server, "export")
    assert (await schedctl(server, "diff", "-f", "-", typed=told.out)).lines == ["0 differ, 1 is as the file says"]
    assert all(char.isprintable() or char == "\n" for char in told.out)
    (shown,) = (await schedctl(server, "jobs", "get", "one", "-o", "json")).json
    (listed,) = yaml.safe_load_all((await schedctl(server, "jobs", "list", "-o", "yaml")).out)
    assert said.items() <= shown.items()
    assert said.items() <= listed.items()
    assert "urn:id:42" in (await schedctl(server, "jobs", "get", "one")).out


def test_standard_input_is_utf_8_whatever_a_terminal_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO("name: é".encode()), encoding="latin-1"))
    assert read_file(Path("-")) == "name: é"


async def test_validate_onlying_stores_nothing(server: Running, tmp_path: Path) -> None:
    told = await schedctl(server, "jobs", "create", "-f", written(tmp_path, job("one")), "--validate-only")
    assert (told.code, told.out) == (0, "the job one would be accepted\n")
    assert (await schedctl(server, "jobs", "list")).out == ""


async def test_a_deletion_is_taken_back(server: Running, tmp_path: Path) -> None:
    await schedctl(server, "apply", "-f", written(tmp_path, job("one")))
    await schedctl(server, "jobs", "delete", "one", "--yes")
    assert (await schedctl(server, "jobs", "list", "--deleted", "-o", "name")).lines == ["one"]
    assert (await schedctl(server, "jobs", "undelete", "one")).out == "the job one is back\n"
    assert (await schedctl(server, "jobs", "list", "-o", "name")).lines == ["one"]
