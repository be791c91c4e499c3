"""Retry policies in the documents of jobs, steps and executions."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from shared.domain.retry import Jitter, RetryPolicy, RetryWindow
from shared.store.pipeline import literal

if TYPE_CHECKING:
    from collections.abc import Mapping


def retry_policy_document(retry: RetryPolicy) -> dict[str, Any]:
    """Return a retry policy as documents have it; spans in seconds."""
    return {
        "max_attempts": retry.max_attempts,
        "initial_backoff": retry.initial_backoff.total_seconds(),
        "max_backoff": retry.max_backoff.total_seconds(),
        "multiplier": retry.multiplier,
        "jitter": retry.jitter.value,
        "retryable_codes": sorted(retry.retryable_codes),
        "non_retryable_codes": sorted(retry.non_retryable_codes),
        "retry_window": retry.retry_window.value,
    }


def retry_policy(document: Mapping[str, Any]) -> RetryPolicy:
    """Read the retry policy of a job's or an execution's document; an older one lacks the last four."""
    return RetryPolicy(
        document["max_attempts"],
        timedelta(seconds=document["initial_backoff"]),
        timedelta(seconds=document["max_backoff"]),
        document["multiplier"],
        Jitter(document.get("jitter", Jitter.PROPORTIONAL)),
        frozenset(document.get("retryable_codes", ())),
        frozenset(document.get("non_retryable_codes", ())),
        RetryWindow(document.get("retry_window", RetryWindow.UNLIMITED)),
    )


def _default_retry() -> dict[str, Any]:
    """Return what a retry policy has that was written before there was more to it."""
    document = retry_policy_document(RetryPolicy())
    return {name: document[name] for name in ("jitter", "retryable_codes", "non_retryable_codes", "retry_window")}


WITH_RETRY_DEFAULTS: Final = {"$mergeObjects": [literal(_default_retry()), "$retry"]}
"""An older retry policy as one of this schema."""
