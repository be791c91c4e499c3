"""What the platform reads from the environment beside what the scheduler does."""

from examples.settings import Settings


class TrendsSettings(Settings):
    """The field names in capitals are the environment's names."""

    trends_queue_limit: int = 1000
    """Messages in a queue beyond which somebody is told."""
    trends_alert_webhook: str = ""
    """Where that is posted; empty: it is only logged."""
