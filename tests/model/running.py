"""The run of one execution: relays, messages that are lost, doubled and late, workers that die, stall or are cut off,
retries, rescue, cancel, and a worker that is asked to stop.

The message of a run by hand goes ahead of its row (docs/decisions/0023), which a crash of the store can then take away.

A clock is not needed: a wait may be over at any time, a lease may end whenever its holder does not renew it.
Any number of relays, rescuers and clients act on readings of any age.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tests.model.explore import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

ABSENT, PENDING, QUEUED, RUNNING = "ABSENT", "PENDING", "QUEUED", "RUNNING"
SUCCEEDED, FAILED, CANCELLED = "SUCCEEDED", "FAILED", "CANCELLED"
MAY_BECOME: Final = {
    ABSENT: {PENDING},
    PENDING: {QUEUED, RUNNING, CANCELLED},
    QUEUED: {PENDING, RUNNING, CANCELLED},
    RUNNING: {PENDING, SUCCEEDED, FAILED, CANCELLED},
    SUCCEEDED: set(),
    FAILED: set(),
    CANCELLED: set(),
}
MOST_MESSAGES = 2


class Size(NamedTuple):
    """How far an exploration goes, and the rule that is switched off in it."""

    attempts: int = 2
    faults: int = 1
    """Of workers, and of their connection to the store; messages are lost and doubled as often as it may be."""
    cancels: int = 1
    lost: str = "RETRY"
    """The policy on_worker_lost: RETRY or FAIL."""
    ahead: int = 0
    """Messages that are sent while the row is being inserted; with any, the store may crash until it is durable."""
    broken: str = ""


class Rule(NamedTuple):
    """What the protocol relies on, and the size at which something goes wrong without it."""

    says: str
    missed_at: Size


RULES: Final = {
    "claim once": Rule("an attempt starts only of what is PENDING or QUEUED", Size()),
    "claim when due": Rule("an attempt starts only when it is due", Size()),
    "nonce": Rule("an outcome is written only by the holder of the lease", Size()),
    "fresh nonce": Rule(
        "a claim that is tried again has a nonce of its own, since the first may still come late",
        Size(faults=2, cancels=0),
    ),
    "own clock": Rule("a worker that cannot renew its lease ends its call before the lease ends", Size()),
    "rescue by nonce": Rule("rescue takes the attempt that it saw", Size(faults=2, cancels=0)),
    "rescue by clock": Rule("rescue takes only what has expired when it writes", Size()),
    "resend": Rule("what was QUEUED for long is sent again", Size(cancels=0)),
    "relay": Rule("what is PENDING and due is sent by any beat, not only by the one that decided it", Size(cancels=0)),
    "mark by attempt": Rule("a row is marked QUEUED only for the attempt that was sent", Size()),
    "cancel in one write": Rule("a cancel looks at the state in the same write", Size()),
    "retry sees cancel": Rule("a retry is not written where a cancel was asked for", Size()),
    "outbox": Rule("the dead letter is asked for in the write that ends the execution", Size(cancels=0)),
    "orphan by process": Rule(
        "what a dead process left is taken from it, and no attempt that another process makes meanwhile",
        Size(faults=2, cancels=0),
    ),
    "hand back last": Rule("a stopping worker hands back only when its call has ended", Size()),
    "durable claim": Rule("a worker calls only when its claim, and so the row, is durable", Size(cancels=0, ahead=1)),
    "durable answer": Rule("whoever asked is answered only when the row is durable", Size(cancels=0, ahead=1)),
}


class Row(NamedTuple):
    """The execution's document. lease: valid or expired while RUNNING. handed_back: attempts that cost nothing."""

    state: str = PENDING
    attempt: int = 0
    nonce: int = 0
    lease: str = ""
    due: bool = True
    cancel: bool = False
    dead_letter: str = ""
    handed_back: int = 0


class Insertion(NamedTuple):
    """How far the row's insertion by a server is. Of a row that others see already, a crash leaves what is durable."""

    asked: bool = True
    """Whether the server has, or will have, the store insert it; not any more once a crash has told it otherwise."""
    durable: bool = True
    answered: bool = True
    ahead: int = 0
    """Messages that are still to be sent before the row is known to be there."""


class Worker(NamedTuple):
    """A worker that is busy.

    doing: unsure (its claim got no answer), calls, knows (the call's outcome, which it is to write), buries (a dead
    letter, if that is the worker's to send). link: well; stalled; woke (from a stall, and has not renewed since);
    cut (off from the store).
    """

    doing: str
    nonce: int
    attempt: int = 0
    outcome: str = ""
    link: str = "well"


class World(NamedTuple):
    row: Row = Row()
    messages: int = 0
    workers: tuple[Worker | None, Worker | None] = (None, None)
    confirmed: int = -1
    """The attempts made before the message that the broker confirmed last."""
    marks: frozenset[int] = frozenset()
    """Confirmed messages that the row does not tell of yet."""
    rescues: frozenset[tuple[int, int]] = frozenset()
    """(nonce, attempt) that some rescuer has found expired."""
    orphans: frozenset[int] = frozenset()
    """Nonces of dead processes, whose parent is about to look what they left."""
    cancels: frozenset[str] = frozenset()
    """States in which some client saw the row that it is to cancel; only if it looks first."""
    late_claims: frozenset[int] = frozenset()
    nonces: int = 0
    faults: int = 0
    fault: str = ""
    insertion: Insertion = Insertion()


class Running:
    """The model; see tests.model.explore.Model."""

    def __init__(self, size: Size) -> None:
        self._size = size
        self.start = World()
        if size.ahead:
            self.start = World(Row(ABSENT), insertion=Insertion(durable=False, answered=False, ahead=size.ahead))

    def steps(self, world: World) -> Iterator[Step[World]]:
        yield from self._server(world)
        yield from self._relay(world)
        yield from self._broker(world)
        yield from self._store(world)
        yield from self._parent(world)
        yield from self._client(world)
        may_fail = world.faults < self._size.faults
        failing = world._replace(faults=world.faults + 1)
        for number, worker in enumerate(world.workers):
            if number and worker == world.workers[0]:
                continue  # the two are alike
            if worker is None:
                steps = self._take(world, failing if may_fail else None)
            else:
                steps = self._work(world, worker, failing if may_fail else None)
            for what, after, becomes, fault in steps:
                workers = sorted((world.workers[1 - number], becomes), key=hash)
                yield Step(f"a worker {what}", after._replace(workers=(workers[0], workers[1])), fault)

    def _server(self, world: World) -> Iterator[Step[World]]:
        """Insert the row, durably, and send its message meanwhile."""
        row, insertion = world.row, world.insertion
        if insertion.ahead and world.messages < MOST_MESSAGES:
            sent = world._replace(
                messages=world.messages + 1, marks=world.marks | {0}, confirmed=max(0, world.confirmed)
            )
            yield Step("the message goes ahead", sent._replace(insertion=insertion._replace(ahead=insertion.ahead - 1)))
        if row.state == ABSENT and insertion.asked:
            yield Step("the row is there", world._replace(row=Row()))
        if row.state != ABSENT and not insertion.durable:
            yield Step("the journal is written", self._made_durable(world))
        if row.state != ABSENT and not insertion.durable and world.faults < self._size.faults:
            crashed = world._replace(row=Row(ABSENT), rescues=frozenset(), faults=world.faults + 1)
            yield Step("the store crashes, and its driver tries again", crashed, fault=True)
            refused = crashed._replace(insertion=insertion._replace(asked=False))
            yield Step("the store crashes, and the caller is told so", refused, fault=True)
        known = insertion.durable or (self._size.broken == "durable answer" and row.state != ABSENT)
        if known and not insertion.answered:
            yield Step("the caller is answered", world._replace(insertion=insertion._replace(answered=True)))

    def _made_durable(self, world: World) -> World:
        """Return what a journaled write leaves: it covers all that was written before it."""
        return world._replace(insertion=world.insertion._replace(durable=True))

    def _relay(self, world: World) -> Iterator[Step[World]]:
        row, broken = world.row, self._size.broken
        unsent = row.state == PENDING and row.due and (broken != "relay" or row.attempt > 0)
        if world.messages < MOST_MESSAGES and (unsent or (row.state == QUEUED and broken != "resend")):
            sent = world._replace(messages=world.messages + 1, marks=world.marks | {row.attempt}, confirmed=row.attempt)
            yield Step(f"the broker confirms the message of attempt {row.attempt + 1}", sent)
        if broken == "relay" and row == Row() and world.confirmed < 0:
            yield Step("the beat that decided sends the message", world._replace(messages=1, confirmed=0))
        for attempt in world.marks:
            marked = world._replace(marks=world.marks - {attempt})
            if row.state == PENDING and (row.attempt == attempt or broken == "mark by attempt"):
                marked = self._made_durable(marked._replace(row=row._replace(state=QUEUED)))
            yield Step(f"the confirmed message of attempt {attempt + 1} is marked", marked)
        if row.dead_letter == "asked for":
            yield Step("the dead letter is sent", world._replace(row=row._replace(dead_letter="sent")))

    def _broker(self, world: World) -> Iterator[Step[World]]:
        if world.messages:
            yield Step("a message is lost", world._replace(messages=world.messages - 1), fault=True)
            if world.messages < MOST_MESSAGES:
                yield Step("a message is doubled", world._replace(messages=world.messages + 1), fault=True)

    def _store(self, world: World) -> Iterator[Step[World]]:
        """What time brings, and who acts on it."""
        row, broken = world.row, self._size.broken
        if row.state in {PENDING, QUEUED} and not row.due:
            yield Step("the wait for the retry is over", world._replace(row=row._replace(due=True)))
        for nonce in world.late_claims:
            arrived = world._replace(late_claims=world.late_claims - {nonce})
            claimed = self._claim(row, nonce)
            yield Step("a claim arrives late", arrived._replace(row=claimed) if claimed else arrived)
        keepers = self._keepers(world)
        if row.lease == "valid" and not any(w.nonce == row.nonce for w in keepers):
            yield Step("the lease ends", world._replace(row=row._replace(lease="expired")))
        if row.lease == "expired" and (row.nonce, row.attempt) not in world.rescues:
            seen = world._replace(rescues=world.rescues | {(row.nonce, row.attempt)})
            yield Step(f"a rescuer finds attempt {row.attempt} expired", seen)
        for nonce, attempt in world.rescues:
            rescued = world._replace(rescues=world.rescues - {(nonce, attempt)})
            ours = nonce == row.nonce or broken == "rescue by nonce"
            expired = row.lease == "expired" or broken == "rescue by clock"
            if row.state == RUNNING and ours and expired:
                if row.lease == "valid" and any(w.nonce == row.nonce for w in keepers):
                    rescued = rescued._replace(fault="a lease was taken from a worker that kept it")
                final = self._size.lost == "FAIL" or attempt - row.handed_back >= self._size.attempts
                after = self._failed(row, final=final)
                rescued = self._made_durable(rescued._replace(row=after._replace(due=True)))
            yield Step(f"a rescuer takes attempt {attempt}", rescued)

    def _keepers(self, world: World) -> list[Worker]:
        """Return those whose leases do not end."""
        unfailing = {"well"} if self._size.broken == "own clock" else {"well", "cut"}
        return [w for w in world.workers if w and w.doing in {"calls", "knows"} and w.link in unfailing]

    def _parent(self, world: World) -> Iterator[Step[World]]:
        """Who holds a pool of processes sees that one has died, and looks what it left."""
        row = world.row
        for nonce in world.orphans:
            taken = world._replace(orphans=world.orphans - {nonce})
            if row.state == RUNNING and (nonce == row.nonce or self._size.broken == "orphan by process"):
                if any(w.nonce == row.nonce for w in self._keepers(world)):
                    taken = taken._replace(fault="an attempt was taken from a process that is alive")
                final = self._size.lost == "FAIL" or row.attempt - row.handed_back >= self._size.attempts
                taken = self._made_durable(taken._replace(row=self._failed(row, final=final)._replace(due=True)))
            yield Step("the parent of a dead process takes what that left", taken)

    def _client(self, world: World) -> Iterator[Step[World]]:
        row, cancels = world.row, self._size.cancels
        if self._size.broken == "cancel in one write":
            if not world.cancels and row.state in {PENDING, QUEUED}:
                seen = world._replace(cancels=frozenset({row.state}))
                yield Step("a client that cancels sees that it does not run", seen, fault=True)
            for _ in world.cancels:
                yield Step(
                    "it is cancelled", world._replace(row=ended(row, CANCELLED), cancels=frozenset()), fault=True
                )
        elif cancels and not row.cancel and CANCELLED in MAY_BECOME[row.state]:
            asked = row._replace(cancel=True) if row.state == RUNNING else ended(row, CANCELLED)
            yield Step("a client cancels it", self._made_durable(world._replace(row=asked)), fault=True)

    def _claim(self, row: Row, nonce: int) -> Row | None:
        broken = self._size.broken
        free = row.state in {PENDING, QUEUED} or (broken == "claim once" and row.state == RUNNING)
        if not free or not (row.due or broken == "claim when due") or row.cancel:
            return None
        return row._replace(state=RUNNING, attempt=row.attempt + 1, nonce=nonce, lease="valid")

    def _failed(self, row: Row, *, final: bool) -> Row:
        if final:
            return ended(row, FAILED)._replace(dead_letter="" if self._size.broken == "outbox" else "asked for")
        if row.cancel and self._size.broken != "retry sees cancel":
            return ended(row, CANCELLED)
        return row._replace(state=PENDING, lease="", due=False)

    def _take(self, world: World, failing: World | None) -> Iterator[tuple[str, World, Worker | None, bool]]:
        """A message reaches an idle worker."""
        if not world.messages:
            return
        nonce = world.nonces + 1
        claimed = self._claim(world.row, nonce)
        taken = world._replace(messages=world.messages - 1)
        if claimed is None:
            yield "finds nothing to do", taken, None, False
        else:
            started = taken._replace(row=claimed, nonces=nonce)
            if self._size.broken != "durable claim":
                started = self._made_durable(started)
            yield f"starts attempt {claimed.attempt}", started, Worker("calls", nonce, claimed.attempt), False
        if failing is not None:
            unsure = Worker("unsure", nonce)
            taken = taken._replace(nonces=nonce, faults=failing.faults)
            late = taken._replace(late_claims=world.late_claims | {nonce})
            yield "claims, which stays on the way", late, unsure, True
            if claimed is not None:
                yield "claims, and gets no answer", taken._replace(row=claimed), unsure, True

    def _work(
        self, world: World, worker: Worker, failing: World | None
    ) -> Iterator[tuple[str, World, Worker | None, bool]]:
        if failing is not None:
            # The broker gives its message to another.
            again = failing._replace(messages=min(MOST_MESSAGES, world.messages + 1))
            yield "dies", again, None, True
            yield "dies, and its parent sees it", again._replace(orphans=world.orphans | {worker.nonce}), None, True
            if worker.link == "well" and worker.doing == "calls":
                yield "stalls", failing, worker._replace(link="stalled"), True
                yield "is cut off from the store", failing, worker._replace(link="cut"), True
        if worker.link == "stalled":
            yield "wakes up", world, worker._replace(link="woke"), False
        elif worker.link == "cut":
            yield "reaches the store again", world, worker._replace(link="woke"), False
            if self._size.broken != "own clock":
                yield "ends its call, as its lease ends", world, None, False
        elif worker.doing == "unsure":
            yield from self._ask_again(world, worker)
        elif worker.doing == "calls":
            yield from self._call(world, worker)
        elif worker.doing == "knows":
            yield from self._write(world, worker, failing)
        else:
            yield "sends the dead letter", world._replace(row=world.row._replace(dead_letter="sent")), None, False

    def _call(self, world: World, worker: Worker) -> Iterator[tuple[str, World, Worker | None, bool]]:
        row = world.row
        holds = row.state == RUNNING and row.nonce == worker.nonce
        yield "is answered OK", world, worker._replace(doing="knows", outcome=SUCCEEDED), False
        yield "is answered an error", world, worker._replace(doing="knows", outcome=FAILED), False
        if holds and row.cancel:
            yield "ends the call, as it is asked", world, worker._replace(doing="knows", outcome=CANCELLED), False
        if holds and (row.lease == "expired" or worker.link == "woke"):
            renewed = world._replace(row=row._replace(lease="valid"))
            yield "renews its lease", renewed, worker._replace(link="well"), False
        if not holds:
            yield "ends its call, as its lease is lost", world, None, False
        if holds and not row.handed_back and worker.link == "well":
            back = self._failed(row, final=False)
            back = back._replace(handed_back=int(back.state == PENDING), due=True)
            calls_on = worker if self._size.broken == "hand back last" else None
            yield "is asked to stop, and hands back", world._replace(row=back), calls_on, True

    def _ask_again(self, world: World, worker: Worker) -> Iterator[tuple[str, World, Worker | None, bool]]:
        """Claim once more; if that finds nothing, look whether the first claim took effect."""
        nonce = worker.nonce if self._size.broken == "fresh nonce" else world.nonces + 1
        claimed = self._claim(world.row, nonce)
        if claimed is None and world.row.state == RUNNING and world.row.nonce == worker.nonce:
            claimed = world.row._replace(lease="valid")
        if claimed is None:
            yield "gives up its claim", world, None, False
        else:
            calls = Worker("calls", claimed.nonce, claimed.attempt)
            after = self._made_durable(world._replace(row=claimed, nonces=max(world.nonces, claimed.nonce)))
            yield f"learns that it holds attempt {claimed.attempt}", after, calls, False

    def _write(
        self, world: World, worker: Worker, failing: World | None
    ) -> Iterator[tuple[str, World, Worker | None, bool]]:
        row = world.row
        if row.state != RUNNING or (row.nonce != worker.nonce and self._size.broken != "nonce"):
            yield "is too late with its outcome", world, None, False
            return
        if worker.outcome == FAILED:
            written = self._failed(row, final=worker.attempt - row.handed_back >= self._size.attempts)
        else:
            written = ended(row, worker.outcome)
        after = world._replace(row=written)
        if row.attempt != worker.attempt:
            after = after._replace(fault=f"the outcome of attempt {worker.attempt} was written as {row.attempt}'s")
        buries = self._size.broken == "outbox" and written.state == FAILED
        yield f"writes {worker.outcome}", after, worker._replace(doing="buries") if buries else None, False
        if failing is not None:
            yield f"writes {worker.outcome}, and gets no answer", after._replace(faults=failing.faults), worker, True

    # What must not be:

    def wrong(self, old: World, new: World) -> str:
        before, after = old.row, new.row
        if new.fault or after.state == ABSENT:
            return new.fault or self._missed(new)
        if before.state != after.state and after.state not in MAY_BECOME[before.state]:
            return f"{before.state} became {after.state}"
        if after.attempt != before.attempt:
            if before.state == RUNNING:
                return f"attempt {after.attempt} began while {before.attempt} ran"
            if before.cancel or not before.due:
                return (
                    f"attempt {after.attempt} began, although cancelled" if before.cancel else "began before it was due"
                )
            if after.attempt != before.attempt + 1 or after.attempt - after.handed_back > self._size.attempts:
                return f"attempt {after.attempt} of {self._size.attempts} began"
        calling = [w for w in new.workers if w is not None and w.doing == "calls" and w.link in {"well", "cut"}]
        if len(calling) > 1:
            return "two workers call at once, and neither was silent past its lease"
        if calling and not MAY_BECOME[after.state]:
            return f"it is {after.state}, and its worker, who was not silent, still calls"
        if after.state == QUEUED and new.confirmed < after.attempt:
            return f"QUEUED, and attempt {after.attempt + 1} has no message"
        return ""

    def _missed(self, world: World) -> str:
        """Say who relies on a row that is not there."""
        if world.insertion.answered:
            return "the row is gone, and its caller was answered"
        calling = any(w is not None and w.doing != "unsure" for w in world.workers)
        return "the row is gone, and a worker calls for it" if calling else ""

    def done(self, world: World) -> bool:
        mourned = world.row.state != FAILED or world.row.dead_letter == "sent"
        never_was = world.row.state == ABSENT and not world.insertion.asked
        ended = not MAY_BECOME[world.row.state] and mourned and world.insertion.answered
        return (never_was or ended) and world.workers == (None, None)


def ended(row: Row, state: str) -> Row:
    return row._replace(state=state, lease="", due=True)


MODEL: Final = Running
