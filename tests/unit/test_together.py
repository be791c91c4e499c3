"""Questions that are asked once for all who come while another is on its way."""

from __future__ import annotations

import asyncio

import pytest

from scheduler_service.jobs.together import Together


class Asked:
    """A question that is answered when the test says so, with its number."""

    def __init__(self) -> None:
        self.answers: list[asyncio.Future[None]] = []

    async def __call__(self) -> int:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        number = len(self.answers)
        await answer
        return number


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_comes_while_a_question_is_on_its_way_shares_the_next_one() -> None:
    asked = Asked()
    together = Together(asked)
    first = asyncio.create_task(together())
    await settle()
    later = [asyncio.create_task(together()) for _ in range(5)]
    await settle()
    assert len(asked.answers) == 1
    asked.answers[0].set_result(None)
    assert await first == 1
    await settle()
    assert len(asked.answers) == 2
    asked.answers[1].set_result(None)
    assert await asyncio.gather(*later) == [2] * 5


async def test_who_comes_when_nothing_is_on_its_way_asks_at_once() -> None:
    asked = Asked()
    together = Together(asked)
    for number in (1, 2):
        task = asyncio.create_task(together())
        await settle()
        asked.answers[-1].set_result(None)
        assert await task == number


async def test_an_error_is_told_to_all_who_share_it_and_to_nobody_after_them() -> None:
    asked = Asked()
    together = Together(asked)
    sharing = [asyncio.create_task(together()) for _ in range(2)]
    await settle()
    asked.answers[0].set_exception(ConnectionError("away"))
    assert [str(error) for error in await asyncio.gather(*sharing, return_exceptions=True)] == ["away"] * 2
    after = asyncio.create_task(together())
    await settle()
    asked.answers[1].set_result(None)
    assert await after == 2


async def test_who_gives_up_takes_the_answer_from_nobody() -> None:
    asked = Asked()
    together = Together(asked)
    leaving, staying = (asyncio.create_task(together()) for _ in range(2))
    await settle()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    asked.answers[0].set_result(None)
    assert await staying == 1


async def test_who_is_content_with_a_recent_answer_shares_the_question_that_is_on_its_way() -> None:
    asked = Asked()
    together = Together(asked)
    sharing = [asyncio.create_task(together.lately(3_600.0)) for _ in range(2)]
    await settle()
    sharing += [asyncio.create_task(together.lately(3_600.0)) for _ in range(3)]
    other = asyncio.create_task(together.lately(-1.0))
    await settle()
    assert len(asked.answers) == 1
    asked.answers[0].set_result(None)
    assert await asyncio.gather(*sharing) == [1] * 5
    await settle()
    asked.answers[1].set_result(None)
    assert await other == 2, "to whom that question was put too long ago"


async def test_who_gives_up_a_recent_answer_takes_it_from_nobody() -> None:
    asked = Asked()
    together = Together(asked)
    first = asyncio.create_task(together.lately(3_600.0))
    await settle()
    leaving, staying = (asyncio.create_task(together.lately(3_600.0)) for _ in range(2))
    await settle()
    for each in (first, leaving):
        each.cancel()
        with pytest.raises(asyncio.CancelledError):
            await each
    asked.answers[0].set_result(None)
    assert await staying == 1


async def test_a_recent_question_that_failed_is_put_again_for_those_who_come_after() -> None:
    asked = Asked()
    together = Together(asked)
    first = asyncio.create_task(together.lately(3_600.0))
    await settle()
    second = asyncio.create_task(together.lately(3_600.0))
    await settle()
    asked.answers[0].set_exception(ConnectionError("away"))
    told = await asyncio.gather(first, second, return_exceptions=True)
    assert [str(error) for error in told] == ["away"] * 2
    after = asyncio.create_task(together.lately(3_600.0))
    await settle()
    asked.answers[1].set_result(None)
    assert await after == 2


async def test_an_answer_to_a_question_that_was_put_lately_is_given_without_another() -> None:
    asked = Asked()
    together = Together(asked)
    for number, seconds in ((1, 3_600.0), (1, 3_600.0), (2, -1.0)):
        task = asyncio.create_task(together.lately(seconds))
        await settle()
        if not asked.answers[-1].done():
            asked.answers[-1].set_result(None)
        assert await task == number
