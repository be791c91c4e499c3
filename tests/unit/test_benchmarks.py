"""What benchmarks make of their figures, and what the gate says of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import __main__ as command
from benchmarks.comparison import Better, Comparison, taking_turns
from benchmarks.results import Results, Size

FIRES = Comparison(
    "fires", "/s", Better.HIGHER, (90.0, 200.0, 110.0), "a peer", (30.0, 100.0, 55.0), goal=100, ratio_goal=2.0
)
LATE = Comparison("lateness", "ms", Better.LOWER, (4.0, 6.0, 5.0), "a peer", (8.0, 6.0, 10.0), ratio_goal=0.4)


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    assert (FIRES.median, FIRES.ratio) == (110.0, 2.0)


def test_goals_are_reached_in_the_direction_that_is_better() -> None:
    assert FIRES.reached is True
    assert replace(FIRES, goal=111).reached is False
    assert replace(FIRES, ratio_goal=2.1).reached is False
    assert LATE.reached is False
    assert replace(LATE, ratio_goal=0.5).reached is True
    assert replace(LATE, ratio_goal=None).reached is None


def test_worse_is_told_in_the_direction_that_is_worse() -> None:
    half = replace(FIRES, ours=(45.0, 100.0, 55.0))
    assert (half.worse_by(FIRES), FIRES.worse_by(half)) == (2.0, 0.5)
    assert replace(LATE, ours=(8.0, 12.0, 10.0)).worse_by(LATE) == 2.0
    assert Comparison("alone", "s", Better.LOWER, (1.0,)).worse_by(FIRES) is None


def test_nothing_is_as_much_as_nothing() -> None:
    none = Comparison("lost", "", Better.LOWER, (0.0, 0.0, 0.0), "a peer", (0.0, 0.0, 0.0), ratio_goal=1.0)
    assert (none.ratio, none.reached, none.worse_by(none)) == (1.0, True, 1.0)
    assert replace(none, ours=(1.0, 1.0, 0.0)).reached is False


@pytest.mark.parametrize(
    "wrong",
    [
        {"ours": ()},
        {"theirs": (1.0,)},
        {"theirs": ()},
        {"against": ""},
    ],
)
def test_sides_without_the_same_rounds_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="fires: "):
        replace(FIRES, **wrong)  # type: ignore[arg-type]


def test_sides_take_turns_and_each_begins_once() -> None:
    asked: list[str] = []

    def side(name: str) -> float:
        asked.append(name)
        return float(len(asked))

    found = taking_turns({name: lambda name=name: side(name) for name in "abc"}, 3)  # type: ignore[misc]
    assert "".join(asked) == "abc" + "abc" + "bca" + "cab"
    assert found["a"] == (4.0, 9.0, 11.0)


def test_results_are_read_as_they_were_written() -> None:
    results = Results({size.value: {} for size in Size})
    results.put("firing", Size.FULL, [FIRES, LATE])
    assert results.of("firing", Size.FULL) == [FIRES, LATE]
    assert results.of("firing", Size.QUICK) == []
    page = results.page()
    assert "| fires | 110 /s | 90 to 200 | a peer | 55 /s | 2 | ≥ 100 /s, ratio ≥ 2 | yes |" in page
    assert "| lateness | 5 ms | 4 to 6 | a peer | 8 ms | 0.5 | ratio ≤ 0.4 | **no** |" in page


class TestGate:
    def gate(
        self, monkeypatch: pytest.MonkeyPatch, *found: list[Comparison], committed: tuple[Comparison, ...] = (FIRES,)
    ) -> list[str]:
        """Return what the gate says when the benchmark's first run, and its second one, find this."""
        runs = iter(found)
        monkeypatch.setattr(command, "run", lambda *_: next(runs))
        return command.gate("firing", Size.QUICK, committed)

    def test_what_is_as_it_was_passes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.gate(monkeypatch, [replace(FIRES, ours=(70.0, 150.0, 80.0))]) == []

    def test_what_is_worse_is_measured_again_and_judged_by_both(self, monkeypatch: pytest.MonkeyPatch) -> None:
        slow = replace(FIRES, ours=(30.0, 100.0, 55.0))
        assert self.gate(monkeypatch, [slow], [slow]) == ["firing: fires: ratio 1, committed 2"]
        assert self.gate(monkeypatch, [slow], [replace(FIRES, ours=(90.0, 300.0, 165.0))]) == []

    def test_what_is_missing_or_new_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.gate(monkeypatch, [LATE]) == [
            "firing: fires is in results.json, but was not measured",
            "firing: lateness has no committed result",
        ]

    def test_a_figure_without_another_side_is_not_judged(self, monkeypatch: pytest.MonkeyPatch) -> None:
        alone = Comparison("alone", "s", Better.LOWER, (1.0,))
        assert self.gate(monkeypatch, [replace(alone, ours=(9.0,))], committed=(alone,)) == []
