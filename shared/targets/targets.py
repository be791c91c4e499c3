"""The targets, as the server and the worker use them: where one is, what it offers, whether a call fits."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, TypeVar

from shared.domain.errors import InvalidInput, Violation
from shared.domain.job import TASK
from shared.domain.text import closest, excerpt
from shared.targets.compiled import compiled_contract
from shared.targets.reflection import read_contract
from shared.targets.registry import Target, read_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from google.protobuf.message import Message

    from shared.settings import Settings
    from shared.targets.contract import Contract, Method

_FRESH: Final = 2.0
"""Seconds for which a contract that was just read is not read again, so that a client repeating a wrong name does not
make us ask the target each time. Longer, and a method just deployed is refused for longer."""

_MOST_NAMED: Final = 20

_T = TypeVar("_T")


def load_targets(settings: Settings) -> Targets:
    """Read `targets.yaml` of the configuration folder; connects to nothing.

    `${SCRAPER_SERVICE_URL}` and its like come from the settings, any other variable from the environment. Raises
    RegistryError with all that is wrong.
    """
    variables = dict(os.environ) | {
        "SCRAPER_SERVICE_URL": settings.scraper_service_url,
        "PRICING_SERVICE_URL": settings.pricing_service_url,
        "SCHEDULER_SERVICE_URL": settings.scheduler_service_url or f"localhost:{settings.grpc_port}",
    }
    return Targets(read_registry(settings.config_dir / "targets.yaml", variables).values())


class Targets:
    """All targets by name. Safe to use from any number of threads; it blocks, so asyncio calls it in one.

    A contract is compiled in, or read from the target by reflection when it is first needed and kept. It is read once
    more when something does not fit it: the target may have been deployed anew.

    Those it is made with are the configured ones, which stay; others may be registered beside them, and change.
    """

    def __init__(
        self,
        targets: Iterable[Target],
        *,
        read: Callable[[Target], Contract] = read_contract,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read, self._clock = read, clock
        # Never changed in place: who reads it meanwhile sees one list or the other.
        self._sources = {target.name: _Source(target, self._read, self._clock) for target in targets}
        self._configured = frozenset(self._sources)
        self._look: Callable[[], None] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all targets, sorted."""
        return tuple(sorted(self._sources))

    @property
    def configured(self) -> frozenset[str]:
        """The names of those that stand in the configuration."""
        return self._configured

    def register(self, targets: Iterable[Target]) -> frozenset[str]:
        """Have these beside the configured ones, instead of those that were registered before; return what changed.

        A name that is configured stays what it is. Calls in progress go on as they began.
        """
        before = self._sources
        given = {target.name: target for target in targets if target.name not in self._configured}
        self._sources = {name: before[name] for name in self._configured} | {
            name: known
            if (known := before.get(name)) and known.target == target
            else _Source(target, self._read, self._clock)
            for name, target in given.items()
        }
        return frozenset(
            name for name in before.keys() | given.keys() if before.get(name) is not self._sources.get(name)
        )

    def ask_for_unknown(self, look: Callable[[], None]) -> None:
        """Have this called for a name that is not known, before it is refused: it may just have been registered."""
        self._look = look

    def target(self, name: str) -> Target:
        """Return a target; raise InvalidInput on `target_service` for an unknown one."""
        return self._source(name).target

    def contract(self, name: str) -> Contract:
        """Return the contract that a target's calls are checked against. Raises as method does."""
        return self._source(name).current()

    def address(self, name: str) -> str:
        """Return what gRPC connects to for a target; raise InvalidInput on `target_service` for an unknown one."""
        return self._source(name).target.address

    def method(self, service: str, method: str) -> Method:
        """Find a method of a target.

        Raises InvalidInput on `target_service` or `target_method`; Unavailable or FailedPrecondition when the
        contract can't be read.
        """
        return self._source(service).fit(lambda contract: contract.method(method))

    def build(self, service: str, method: str, parameters: Mapping[str, object]) -> tuple[Method, Message]:
        """Find a method and build its request from the parameters' JSON form. Raises as check does."""

        def build(contract: Contract) -> tuple[Method, Message]:
            found = contract.method(method)
            return found, found.request(parameters)

        return self._source(service).fit(build)

    def check(self, target_service: str, target_method: str, parameters: Mapping[str, object]) -> None:
        """Check that a call fits its target's contract.

        The parameters may have placeholders for values that are known only later, as `Template.placeholders` puts
        them there; they are checked by their kinds.

        Raises InvalidInput with all violations, on `target_service`, `target_method` or fields of `parameters`;
        Unavailable when the contract must be read and the target does not answer; FailedPrecondition when it has no
        reflection. Takes at most a few seconds.
        """
        self.build(target_service, target_method, parameters)

    def is_known_to_fit(self, service: str, method: str, parameters: Mapping[str, object]) -> bool:
        """Return whether a call fits its target's contract as it is known. Reads none, so that it does not block.

        False says nothing: the contract may not be known yet, or be another one by now; see check.
        """
        source = self._sources.get(service)
        contract = source.known() if source is not None else None
        if contract is None:
            return False
        try:
            contract.method(method).request(parameters)
        except InvalidInput:
            return False
        return True

    def renew(self, service: str) -> bool:
        """Return whether the contract of a target has been read anew, for something that did not fit what it gives.

        It is not when it was read just now, or is compiled in. Raises as method does.
        """
        return self._source(service).renew()

    def forget(self, service: str) -> None:
        """Read the contract of a target anew when it is next needed: what it said last has proved wrong."""
        self._source(service).forget()

    def _source(self, name: str) -> _Source:
        if (source := self._sources.get(name)) is not None:
            return source
        if name and self._look is not None:
            self._look()
            if (source := self._sources.get(name)) is not None:
                return source
        known = sorted({*self.names, TASK})
        close = closest(name, known)
        meant = f"; did you mean {close}?" if close else ""
        more = f", and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
        said = f"{excerpt(name)!r} is not a target" if name else "a target is required"
        sentence = f"{said}{meant} (known: {', '.join(known[:_MOST_NAMED])}{more})"
        raise InvalidInput([Violation("target_service", sentence)])


class _Source:
    """The contract of one target: compiled in, or read when needed, by one thread for all that wait for it."""

    def __init__(self, target: Target, read: Callable[[Target], Contract], clock: Callable[[], float]) -> None:
        self.target = target
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._contract: Contract | None = None
        self._read_at = 0.0
        self._reading: Future[Contract] | None = None

    def fit(self, use: Callable[[Contract], _T]) -> _T:
        """Return what `use` makes of the contract; when it raises InvalidInput, ask a newer one, if there is."""
        contract = self.current()
        try:
            return use(contract)
        except InvalidInput:
            newer = self._newer_than(contract)
            if newer is contract:
                raise
        return use(newer)

    def renew(self) -> bool:
        contract = self.current()
        return self._newer_than(contract) is not contract

    def forget(self) -> None:
        with self._lock:
            self._contract = None

    def current(self) -> Contract:
        """Return the contract as it is known; read it when it is not."""
        return self.known() or self._read_once()

    def known(self) -> Contract | None:
        with self._lock:
            contract = self._contract
        return contract or compiled_contract(self.target)

    def _newer_than(self, contract: Contract) -> Contract:
        with self._lock:
            if self._contract is not None and self._contract is not contract:
                return self._contract
            fresh = self._clock() - self._read_at < _FRESH
        return contract if fresh or compiled_contract(self.target) else self._read_once()

    def _read_once(self) -> Contract:
        """Read the contract; of threads that want it at the same time, one reads, and all get what it got."""
        with self._lock:
            reading, mine = self._reading, self._reading is None
            if reading is None:
                reading = self._reading = Future()
        if mine:
            try:
                contract = self._read(self.target)
            except BaseException as error:
                with self._lock:
                    self._reading = None
                reading.set_exception(error)
                raise
            with self._lock:
                self._contract, self._read_at, self._reading = contract, self._clock(), None
            reading.set_result(contract)
        return reading.result()
