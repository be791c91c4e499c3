"""A provider of clouds that is made up: its customers, and what they have used. A real one would be asked over HTTP."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Final

PROVIDERS: Final = {
    "cloud-one": ("acme", "globex", "initech", "umbrella"),
    "cloud-two": ("hooli", "stark"),
}
SERVICES: Final = ("compute", "storage", "traffic")

_BUSY: Final = {"globex": 2}
"""How many times the bill of a customer can't be had at first, so that there are retries to be seen."""


class UnknownProviderError(LookupError):
    """There is no provider of this name."""


class BusyError(Exception):
    """The provider can't answer now; it may a minute later."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What a customer has used since midnight (UTC), in euros."""

    customer_id: str
    until: datetime
    by_service: dict[str, Decimal]

    @property
    def total(self) -> Decimal:
        """The sum over all services."""
        return sum(self.by_service.values(), Decimal())


def customers(provider: str) -> tuple[str, ...]:
    """Return the ids of a provider's customers. Raises UnknownProviderError."""
    try:
        return PROVIDERS[provider]
    except KeyError:
        raise UnknownProviderError(f"there is no provider {provider} (known: {', '.join(PROVIDERS)})") from None


async def bill(provider: str, customer_id: str, until: datetime, attempt: int) -> Bill:
    """Return what a customer has used up to an instant; the same question has the same answer.

    Raises BusyError, UnknownProviderError, and LookupError for somebody who is not its customer.
    """
    if customer_id not in customers(provider):
        raise LookupError(f"{customer_id} is not a customer of {provider}")
    if attempt <= _BUSY.get(customer_id, 0):
        raise BusyError(f"{provider} is still counting what {customer_id} has used")
    quarters = until.hour * 4 + until.minute // 15
    by_service = {service: _rate(customer_id, service, until) * quarters for service in SERVICES}
    return Bill(customer_id, until, by_service)


def _rate(customer_id: str, service: str, day: datetime) -> Decimal:
    """Return what a quarter of an hour of a service costs on a day."""
    digest = sha256(f"{customer_id}/{service}/{day:%Y-%m-%d}".encode()).digest()
    return Decimal(int.from_bytes(digest[:2]) % 500 + 1) / 100
