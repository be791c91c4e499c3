"""The schedulers that ours is measured beside: what each is given, and that each has one version for everybody."""

import pytest

from benchmarks.peers.environment import version
from benchmarks.peers.peer import APSCHEDULER, DJANGO, REDBEAT, STOCK, Peer
from benchmarks.peers.programs.terms import DAY, Terms, in_time

TERMS = Terms(
    broker="amqp://broker", queue="peer", store="/file", due=2, every=0.5, resting=3, look=0.01, patience=60.0
)


def test_a_peer_is_given_in_its_environment_what_it_was_to_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TERMS.environment.items():
        monkeypatch.setenv(name, value)
    assert Terms.given() == TERMS


def test_entries_that_will_be_due_come_first_so_that_a_store_filled_in_part_has_them() -> None:
    entries = list(TERMS.entries())
    assert entries[:2] == [("due-0", 0.5), ("due-1", 0.5)]
    assert [every for _, every in entries[2:]] == [DAY] * 3
    assert len(dict(entries)) == 5


def test_a_store_is_filled_as_long_as_there_is_time() -> None:
    assert list(in_time(range(3), 60)) == [0, 1, 2]
    assert list(in_time(range(3), -1)) == []


@pytest.mark.parametrize("peer", [STOCK, REDBEAT, APSCHEDULER, DJANGO], ids=lambda peer: peer.distribution)
def test_a_peer_is_named_with_the_version_that_is_pinned(peer: Peer) -> None:
    assert version(peer.distribution) in peer.title
