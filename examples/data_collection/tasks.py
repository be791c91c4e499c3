"""The tasks of the platform. jobs.yaml says when they run, and what happens when they fail."""

from examples.data_collection import provider as providers
from worker.app import celery_app, current_execution


@celery_app.task
def list_customers(provider: str) -> list[dict[str, str]]:
    """Return a provider's customers: the items that a fan-out runs over."""
    return [{"id": customer_id, "provider": provider} for customer_id in providers.customers(provider)]


@celery_app.task
async def collect_costs(customer_id: str, provider: str = "cloud-one") -> dict[str, object]:
    """Collect what a customer has used up to the nominal time.

    Not up to now: a retry, or a run that was late, collects what the one in time would have.
    """
    execution = current_execution()
    bill = await providers.bill(provider, customer_id, execution.nominal_time, execution.attempt)
    execution.log.info("costs collected", customer_id=customer_id, total=str(bill.total))
    return {
        "customer_id": customer_id,
        "until": bill.until.isoformat(timespec="seconds"),
        "by_service": {service: str(euros) for service, euros in bill.by_service.items()},
        "total": str(bill.total),
    }
