"""Celery's canvas of ledgered tasks: each call is an execution, and what follows it is made by beat, whatever dies."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from dev.server import free_port
from shared.domain.execution import State
from shared.proto import maintenance_service_pb2 as maintenance
from shared.proto import scheduler_service_pb2 as pb
from shared.store import executions
from tests.acceptance.system import wait_until
from tests.integration.test_server_harness import serving

# Fixtures:
from tests.integration.test_tasks import folder, office, open_office  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.test_tasks import Office

IMPORTS = "import json\nfrom celery import chain, chord, group\nadd, fail = tasks.add, tasks.fail\n"


def said(office: Office, code: str) -> Any:  # noqa: F811
    """Run code with the tasks; return what it prints as JSON."""
    return json.loads(office.run(IMPORTS + code))


def _has_failed(result: Any) -> bool:
    return bool(result.state == "FAILURE")


def called(office: Office, execution_id: str) -> None:  # noqa: F811
    """Wait until what follows another call is there."""
    there = {"_id": execution_id}
    wait_until(lambda: office.site.database.executions.count_documents(there), f"{execution_id} was called")


def retried(office: Office, execution_id: str) -> str:  # noqa: F811
    """Let a server retry an execution; return the id of the new one, whose message the relay sends."""

    async def retry() -> str:
        async with serving(office.site.environment["MONGODB_URL"]) as server:
            request = pb.RetryExecutionRequest(execution_id=execution_id)
            return str((await server.stub.RetryExecution(request)).execution_id)

    return asyncio.run(retry())


def grow_old(office: Office, *execution_ids: str) -> None:  # noqa: F811
    """Let executions have ended two days ago."""
    ended = {"finished_at": datetime.now(UTC) - timedelta(days=2)}
    office.site.database.executions.update_many({"_id": {"$in": execution_ids}}, {"$set": ended})


def remaining(office: Office, *execution_ids: str) -> set[str]:  # noqa: F811
    """Let a server remove what ended more than a day ago, of which there is something; return what is still there."""

    async def remove() -> int:
        async with serving(office.site.environment["MONGODB_URL"]) as server:
            request = maintenance.CleanupOldExecutionRecordsRequest(older_than_days=1)
            return int((await server.maintenance.CleanupOldExecutionRecords(request)).deleted_count)

    wait_until(lambda: asyncio.run(remove()), "the statistics have come so far that records are removed")
    return {row["_id"] for row in office.site.database.executions.find({"_id": {"$in": execution_ids}})}


def test_a_chain_gives_its_last_result_and_each_call_names_the_one_before(office: Office):  # noqa: F811
    last, ids = said(
        office,
        "r = (add.s(1, 2) | add.s(10) | add.s(100)).apply_async()\n"
        "print(json.dumps([r.get(timeout=60), [r.parent.parent.id, r.parent.id, r.id]]))",
    )
    assert last == 113
    first, second, third = (office.ended(each) for each in ids)
    assert [each.state for each in (first, second, third)] == [State.SUCCEEDED] * 3
    assert (second.parent, third.parent) == (first.execution_id, second.execution_id)


def test_a_group_gives_all_results(office: Office):  # noqa: F811
    results, group_id, ids = said(
        office,
        "r = group(add.s(n, n) for n in range(10))()\n"
        "print(json.dumps([r.get(timeout=60), r.id, [each.id for each in r]]))",
    )
    assert results == [2 * n for n in range(10)]
    assert {office.ended(each).group for each in ids} == {group_id}


def test_a_chord_calls_its_body_with_all_results_once(office: Office):  # noqa: F811
    result, body = said(
        office,
        "r = chord([add.s(n, n) for n in range(5)])(tasks.total.s())\nprint(json.dumps([r.get(timeout=60), r.id]))",
    )
    assert result == 20
    assert office.ended(body).parent


def test_a_group_within_a_chain_is_a_chord(office: Office):  # noqa: F811
    code = "r = chain(add.s(1, 1), group(add.s(n) for n in range(3)), tasks.total.s(), add.s(1000))()\n"
    assert said(office, code + "print(r.get(timeout=60))") == 2 + 3 + 4 + 1000


def test_the_rest_of_a_chain_is_not_called_when_one_fails_and_a_retry_goes_on_with_it(
    office: Office,  # noqa: F811
    folder: Path,  # noqa: F811
):
    key = folder / "key"
    error, ids = said(
        office,
        f"r = (tasks.read.s({str(key)!r}) | add.s(5)).apply_async()\n"
        "try: r.get(timeout=60)\n"
        "except Exception as e: print(json.dumps([type(e).__name__, [r.parent.id, r.id]]))",
    )
    assert error == "FileNotFoundError"
    failed = office.ended(ids[0])
    assert failed.state is State.FAILED
    assert office.site.database.executions.count_documents({"_id": ids[1]}) == 0
    assert office.result(ids[1]).state == "FAILURE"
    key.write_text("37")
    retried(office, ids[0])
    called(office, ids[1])
    assert json.loads(office.raw(office.ended(ids[1]).execution_id)["result"]) == 42


def test_code_that_waits_for_any_call_after_one_that_failed_is_told(office: Office):  # noqa: F811
    ids = said(
        office,
        "grouped = chain(fail.s('value'), group(add.s(1), add.s(2) | add.s(3)))()\n"
        "chorded = chain(fail.s('value'), group(add.s(1), add.s(2)), tasks.total.s())()\n"
        "print(json.dumps([*[each.id for each in grouped], chorded.id, *[each.id for each in chorded.parent]]))",
    )
    for each in ids:
        result: Any = office.result(each)
        wait_until(partial(_has_failed, result), f"{each} has a copy")
        assert "before it in its chain, is FAILED" in str(result.result)


def test_code_that_waits_is_told_when_redis_was_away_while_a_chain_broke_off(
    open_office: Callable[[], Office],  # noqa: F811
):
    own = open_office()
    own.kill_beat()
    own.site.start("--concurrency", "2")
    failed, last = said(own, "r = (fail.s('value') | add.s(1))()\nprint(json.dumps([r.parent.id, r.id]))")
    own.ended(failed)
    own.start_beat(CELERY_RESULT_BACKEND=f"redis://127.0.0.1:{free_port()}/0")
    wait_until(lambda: "follow" not in own.raw(failed), "what follows was looked at")
    own.kill_beat()
    own.start_beat()
    result: Any = own.result(last)
    wait_until(lambda: result.state == "FAILURE", "it has a copy")


def test_what_follows_gets_a_result_that_is_ignored(office: Office):  # noqa: F811
    assert said(office, "print((tasks.quiet.s(7) | add.s(1))().get(timeout=60))") == 8


def test_the_results_of_a_header_that_are_too_large_fail_the_body(office: Office):  # noqa: F811
    body = office.run(IMPORTS + "print(chord([tasks.fills.s(200_000), tasks.fills.s(200_000)])(tasks.note.s('x')).id)")
    called(office, body)
    ended = office.ended(body)
    assert ended.error is not None
    assert ended.error.message == "the results of its header have more than 262,144 bytes of JSON"


def test_a_header_that_fails_fails_the_body_which_says_so(office: Office):  # noqa: F811
    body = office.run(IMPORTS + "print(chord([add.s(1), fail.s('value')])(tasks.total.s()).id)")
    ended = office.ended(body)
    assert ended.state is State.FAILED
    assert ended.error is not None
    assert "a task of its header, is FAILED" in ended.error.message
    again = office.ended(retried(office, body))
    assert again.error == ended.error, "and is not called without arguments"


@pytest.mark.parametrize(
    "rest",
    [
        "group(add.s(1), add.s(2))",
        "group(add.s(1), add.s(2)), tasks.total.s()",
        "chord([add.s(1), add.s(2)], tasks.total.s()), add.s(3), chord([add.s(1), add.s(2)], tasks.total.s())",
        "chord([add.s(1), add.s(2)], chain(group(add.s(1), add.s(2)), tasks.total.s() | add.s(3)))",
    ],
)
def test_a_chain_in_a_header_that_fails_before_its_end_fails_the_body_however_it_ends(
    office: Office,  # noqa: F811
    rest: str,
):
    code = f"print(chord([add.s(1), chain(fail.s('value'), {rest})])(tasks.total.s()).id)"
    body = office.run(IMPORTS + code)
    called(office, body)
    ended = office.ended(body)
    assert ended.state is State.FAILED
    assert ended.error is not None
    assert "before it in its chain, is FAILED" in ended.error.message


def test_a_header_is_kept_until_its_body_is_called_however_old_what_has_ended_of_it(office: Office):  # noqa: F811
    body, first, last, other = said(
        office,
        "r = chord([add.s(1), add.s(2).set(countdown=2 * 86_400)])(tasks.total.s())\n"
        "print(json.dumps([r.id, *[each.id for each in r.parent], group(add.s(1))()[0].id]))",
    )
    office.ended(first)
    office.ended(other)
    grow_old(office, first, other)
    assert remaining(office, first, other) == {first}
    now = datetime.now(UTC)
    office.site.database.executions.update_one({"_id": last}, {"$set": {"due_at": now, "send_at": now}})
    called(office, body)
    assert office.ended(body).state is State.SUCCEEDED
    assert json.loads(office.raw(body)["result"]) == 2 + 3
    grow_old(office, first, last)
    assert remaining(office, first, last) == set()


@pytest.mark.parametrize(("header", "other"), [("add.s(1), broken", 0), ("broken, add.s(1)", 1)])
def test_a_header_whose_body_was_called_before_its_end_is_kept_no_longer(office: Office, header: str, other: int):  # noqa: F811
    """Also when the chain that breaks comes first, and has ended before the size of the header is known."""
    body, first = said(
        office,
        "broken = fail.s('value') | add.s(2)\n"
        f"r = chord([{header}])(tasks.total.s())\nprint(json.dumps([r.id, r.parent[{other}].id]))",
    )
    called(office, body)
    office.ended(body)
    office.ended(first)
    grow_old(office, first)
    assert remaining(office, first) == set()


def test_callbacks_are_called_with_the_result_and_errors_with_the_id(office: Office):  # noqa: F811
    office.run(IMPORTS + "add.apply_async((1, 2), link=tasks.note.s('linked'), task_id='linked-call')")
    office.run(IMPORTS + "fail.apply_async(('value',), link_error=tasks.note.s('failed'), task_id='failed-call')")

    def noted() -> bool:
        rows = list(office.site.database.executions.find({"target_method": {"$regex": "note$"}, "state": "SUCCEEDED"}))
        return {json.loads(row["result"])["about"] for row in rows} == {"linked 3", "failed failed-call"}

    wait_until(noted, "both callbacks were called")


def test_what_follows_is_made_by_the_next_beat_when_one_dies_in_between(office: Office):  # noqa: F811
    office.kill_beat()
    try:
        ids = said(office, "r = (add.s(1, 2) | add.s(10)).apply_async()\nprint(json.dumps([r.parent.id, r.id]))")
        assert office.ended(ids[0]).state is State.SUCCEEDED
        assert office.site.database.executions.count_documents({"_id": ids[1]}) == 0
    finally:
        office.start_beat()
    called(office, ids[1])
    assert office.ended(ids[1]).state is State.SUCCEEDED
    assert json.loads(office.raw(ids[1])["result"]) == 13


def test_what_celery_runs_by_tasks_of_its_own_is_refused(office: Office):  # noqa: F811
    for call, task in (
        ("add.chunks([(1, 2)], 1).apply_async()", "starmap"),
        ("(add.s(1) | add.chunks([(1, 2)], 1))()", "chunks"),
        ("chain(add.s(1), group(add.s(1), add.map([1])), add.s(1))()", "map"),
        ("chord([add.s(1)])(add.starmap([(1, 2)]))", "starmap"),
    ):
        code = f"try: {call}\nexcept NotImplementedError as e: print(json.dumps(str(e)))"
        assert said(office, code).startswith(f"celery.{task}: ")


def test_code_that_waits_hears_of_what_was_cancelled_before_it_ran(office: Office):  # noqa: F811
    execution_id = office.run(IMPORTS + "print(add.apply_async((1,), countdown=600).id)")
    cancel = executions.cancel(execution_id, "anna", "not needed")
    office.site.database.executions.update_one(cancel.filter, cancel.update)
    result: Any = office.result(execution_id)
    wait_until(lambda: result.state == "REVOKED", "Redis has a copy")
    assert str(result.result) == "cancelled by anna: not needed"
