"""Celery's beat with django-celery-beat's scheduler, on PostgreSQL. As a program, it stores the entries."""

import os
from itertools import islice

import django

from benchmarks.peers.programs.message import TASK, celery_app
from benchmarks.peers.programs.terms import DAY, Terms, in_time

BATCH = 1_000

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.peers.programs.django_settings"
terms = Terms.given()
app = celery_app(terms)


def main() -> None:
    """Store the entries, and print how many there was time for."""
    django.setup()
    from django.core.management import call_command  # noqa: PLC0415 - after the set-up, like the models
    from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    schedules = {every: IntervalSchedule.objects.create(**_interval(every)) for every in {DAY, terms.every}}
    entries = in_time(terms.entries(), terms.patience)
    while batch := list(islice(entries, BATCH)):
        PeriodicTask.objects.bulk_create(
            PeriodicTask(name=name, task=TASK, interval=schedules[every]) for name, every in batch
        )
    PeriodicTasks.update_changed()
    print(PeriodicTask.objects.count())


def _interval(seconds: float) -> dict[str, object]:
    """Return the fields of an interval: a day has more microseconds than the database's column holds."""
    if seconds.is_integer():
        return {"every": int(seconds), "period": "seconds"}
    return {"every": round(seconds * 1e6), "period": "microseconds"}


if __name__ == "__main__":
    main()
