"""The protocols hold in every state that they can reach at these sizes, and miss each of their rules.

`python -m tests.model` goes further, and prints the trace of a rule that is switched off; --help says how.
"""

from __future__ import annotations

import pytest

from tests.model import filling, firing, parts, running
from tests.model.explore import explore
from tests.model.filling import Filling
from tests.model.firing import Firing
from tests.model.parts import Parts
from tests.model.running import Running

FIRINGS = [
    firing.Size(4),
    firing.Size(3, misfire="FIRE_ALL"),
    firing.Size(3, misfire="SKIP"),
    firing.Size(2, edits=1),
    firing.Size(1, edits=2, edit_to=("odd", "paused", "deleted")),
    firing.Size(3, misfire="SKIP", lag=2),
    firing.Size(2, edits=1, lag=1),
    firing.Size(3, edits=1, edit_to=("skip 2", "skip 3", "paused"), beats=1, lag=2),
    firing.Size(2, overlap="SKIP", misfire="FIRE_ALL", lag=1),
    firing.Size(2, edits=1, replicas=True),
    firing.Size(3, edits=1, edit_to=("skip 2", "skip 3"), replicas=True),
    firing.Size(3, edits=1, edit_to=("move 3 2",), spec="odd", misfire="FIRE_ALL", replicas=True),
    firing.Size(3, edits=2, edit_to=firing.MOVED_EARLY, spec="odd", beats=1, replicas=True),
    *[firing.Size(2, overlap=overlap, misfire="FIRE_ALL") for overlap in firing.OVERLAPS],
    firing.Size(3, overlap="BUFFER_ALL", beats=1),
    firing.Size(3, overlap="CANCEL_PREVIOUS", beats=1),
    firing.Size(2, edits=1, overlap="SKIP", edit_to=("deleted",), beats=1),
    firing.Size(1, edits=1, overlap="SKIP", edit_to=("deleted",)),
    firing.Size(1, edits=2, overlap="SKIP", edit_to=firing.REVIVED),
    firing.Size(2, edits=3, edit_to=firing.REVIVED),
    firing.Size(2, edits=1, overlap="ALLOW", edit_to=("BUFFER_ONE",), beats=1),
    firing.Size(3, edits=1, edit_to=("skip 2", "skip 3")),
    firing.Size(3, edits=1, edit_to=("move 3 2",), spec="odd", misfire="FIRE_ALL"),
    firing.Size(4, edits=2, edit_to=firing.MOVED, spec="odd", beats=1),
    firing.Size(3, edits=2, edit_to=firing.MOVED_EARLY, spec="odd", beats=1),
    firing.Size(3, edits=2, edit_to=("skip 3", "paused", "odd", "deleted"), beats=1),
]
RUNNINGS = [
    running.Size(),
    running.Size(lost="FAIL", cancels=0),
    running.Size(attempts=1, ahead=1),
    running.Size(ahead=1, cancels=0),
]
PARTS = [
    parts.Size(),
    parts.Size(beats=1, deaths=1),
    parts.Size(parallel=1, deaths=1, crashes=0),
    parts.Size(3, parallel=1, crashes=0),
    parts.Size(3, parallel=2, crashes=0, cancels=0),
]


FILLINGS = [
    filling.Size(2),
    filling.Size(2, crashes=0, pauses=1),
    filling.Size(crashes=0),
    filling.Size(4, beats=1),
    filling.Size(4, parallel=1, crashes=0, cancels=0),
]


def named(size: firing.Size | running.Size | parts.Size | filling.Size) -> str:
    """Show what of a size is not as usual."""
    usual = type(size)._field_defaults
    shown = {field: value for field, value in size._asdict().items() if usual.get(field) != value}
    return " ".join(f"{field}={value}" for field, value in shown.items()) or "usual"


@pytest.mark.parametrize("size", FIRINGS, ids=named)
def test_however_beats_edits_and_runs_interleave_each_occurrence_is_decided_once_and_none_overlap(
    size: firing.Size,
) -> None:
    explored = explore(Firing(size))
    assert not explored.wrong, explored
    assert explored.states > 1000


@pytest.mark.parametrize("size", RUNNINGS, ids=named)
def test_whatever_workers_messages_and_clients_do_an_attempt_runs_once_and_the_execution_ends(
    size: running.Size,
) -> None:
    explored = explore(Running(size))
    assert not explored.wrong, explored
    assert explored.states > 1000


@pytest.mark.parametrize("size", PARTS, ids=named)
def test_whatever_beats_have_read_and_wherever_they_crash_each_part_runs_and_the_whole_ends_with_them(
    size: parts.Size,
) -> None:
    explored = explore(Parts(size))
    assert not explored.wrong, explored
    assert explored.states > 1000


@pytest.mark.parametrize("size", FILLINGS, ids=named)
def test_whatever_beats_and_clients_do_a_backfill_starts_each_time_once_and_no_more_at_once_than_it_may(
    size: filling.Size,
) -> None:
    explored = explore(Filling(size))
    assert not explored.wrong, explored
    assert explored.states > 1000


@pytest.mark.parametrize("rule", firing.RULES)
def test_firing_needs_each_of_its_rules(rule: str) -> None:
    explored = explore(Firing(firing.RULES[rule].missed_at._replace(broken=rule)))
    assert explored.wrong, firing.RULES[rule].says
    assert explored.trace


@pytest.mark.parametrize("rule", running.RULES)
def test_running_needs_each_of_its_rules(rule: str) -> None:
    explored = explore(Running(running.RULES[rule].missed_at._replace(broken=rule)))
    assert explored.wrong, running.RULES[rule].says
    assert explored.trace


@pytest.mark.parametrize("rule", parts.RULES)
def test_what_has_parts_needs_each_of_its_rules(rule: str) -> None:
    explored = explore(Parts(parts.RULES[rule].missed_at._replace(broken=rule)))
    assert explored.wrong, parts.RULES[rule].says
    assert explored.trace


@pytest.mark.parametrize("rule", filling.RULES)
def test_a_backfill_needs_each_of_its_rules(rule: str) -> None:
    explored = explore(Filling(filling.RULES[rule].missed_at._replace(broken=rule)))
    assert explored.wrong, filling.RULES[rule].says
    assert explored.trace
