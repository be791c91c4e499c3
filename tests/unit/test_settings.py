"""The environment: each wrong value ends the process with one sentence, and no secret is in it."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from shared.settings import Settings, load_settings

SECRET = "s3cr3t"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def refusal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        load_settings()
    assert isinstance(ended.value.code, str)  # Python prints it, and exits with 1
    return ended.value.code


def test_every_setting_has_a_default_and_a_description() -> None:
    load_settings()
    assert all(field.description for field in Settings.model_fields.values())


def test_the_default_retries_are_those_of_the_specification() -> None:
    retry = load_settings().retry_policy
    assert (retry.max_attempts, retry.initial_backoff, retry.max_backoff, retry.multiplier) == (
        4,
        timedelta(seconds=60),
        timedelta(minutes=10),
        2,
    )


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRPC_PORT", "")
    assert load_settings().grpc_port == 50054


def test_processes_are_fewer_than_threads_unless_somebody_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    pools = ("threads", "prefork")
    assert [load_settings().concurrency(pool) for pool in pools] == [32, 8]
    monkeypatch.setenv("WORKER_CONCURRENCY", "32")
    assert [load_settings().concurrency(pool) for pool in pools] == [32, 32]


@pytest.mark.parametrize("said", ["", "32"])
def test_the_solo_pool_runs_one_at_a_time_whatever_is_said(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("WORKER_CONCURRENCY", said)
    assert load_settings().concurrency("solo") == 1


def test_the_pool_of_processes_may_be_called_by_both_names_that_celery_has_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORKER_POOL", "processes")
    assert load_settings().worker_pool == "prefork"


def test_codes_are_a_list_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRYABLE_CODES", " UNAVAILABLE, ABORTED,")
    assert load_settings().retryable_codes == {"UNAVAILABLE", "ABORTED"}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MONGODB_URL", "localhost", "it must begin with mongodb:// or mongodb+srv://"),
        ("CELERY_BROKER_URL", "redis://localhost", "it must begin with amqp:// or amqps:// or pyamqp://"),
        ("CELERY_RESULT_BACKEND", "", None),
        ("CELERY_RESULT_BACKEND", "amqp://x", "it must begin with redis:// or rediss://"),
        ("GRPC_PORT", "70000", "less than or equal to 65535"),
        ("GRPC_PORT", "http", "valid integer"),
        ("LOG_LEVEL", "LOUD", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("LOG_FORMAT", "xml", "'auto', 'console' or 'json'"),
        ("JOB_TIMEOUT", "0", "greater than 0"),
        ("JOB_TIMEOUT", "86401", "less than or equal to 86400"),
        ("EXECUTION_LEASE", "0.5", "greater than or equal to 1"),
        ("PARTITION_LEASE", "soon", "valid number"),
        ("WORKER_POOL", "gevent", "'threads', 'prefork' or 'solo'"),
        ("WORKER_CONCURRENCY", "0", "greater than or equal to 1"),
        ("RETENTION_DAYS", "0", "greater than or equal to 1"),
        ("RETENTION_DAYS", "800000", "less than or equal to 36525"),
        ("RETRYABLE_CODES", "UNAVAILABLE,OOPS", "OOPS: no such gRPC status code (known: CANCELLED"),
        ("RETRY_MAX_ATTEMPTS", "0", "RETRY_MAX_ATTEMPTS: 0 is not a number of attempts (1-100)"),
        ("MISFIRE_GRACE", "inf", "finite number"),
        ("EXECUTION_LEASE", "1e300", "more than a year"),
        ("MONGODB_URL", "mongodb://u:p@ss@h/x", "written as %40"),
        ("MONGODB_URL", "mongodb://h:abc/x", "not an address of MongoDB"),
        ("RETRY_MAX_BACKOFF", "5", "5 s is less than initial_backoff (60 s)"),
    ],
)
def test_a_wrong_value_ends_the_process_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str | None
) -> None:
    if said is None:
        monkeypatch.setenv(name, value)
        load_settings()
        return
    sentence = refusal(monkeypatch, **{name: value})
    assert sentence.startswith("error: ")
    assert said in sentence
    assert "\n" not in sentence


def test_all_wrong_values_are_said_at_once_each_by_the_variables_name(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = refusal(monkeypatch, GRPC_PORT="x", LOG_LEVEL="LOUD")
    assert "GRPC_PORT: " in sentence
    assert "LOG_LEVEL: " in sentence


@pytest.mark.parametrize("name", ["MONGODB_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"])
@pytest.mark.parametrize("value", [f"htp://me:{SECRET}@host", f"me:{SECRET}@host", f"//:{SECRET}@[host"])
def test_a_wrong_address_is_not_repeated_since_it_may_hold_a_password(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    assert SECRET not in refusal(monkeypatch, **{name: value})


def test_the_settings_do_not_show_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, scheme in [("MONGODB_URL", "mongodb"), ("CELERY_BROKER_URL", "amqp"), ("CELERY_RESULT_BACKEND", "redis")]:
        monkeypatch.setenv(name, f"{scheme}://me:{SECRET}@host/1")
    settings = load_settings()
    assert SECRET in settings.mongodb_url
    assert SECRET not in f"{settings!r} {settings}"


def test_settings_do_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.grpc_port = 1  # type: ignore[misc]
    monkeypatch.setenv("GRPC_PORT", "1234")
    assert os.environ["GRPC_PORT"] == "1234"
    assert settings.grpc_port == 50054
