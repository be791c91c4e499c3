"""What a message of an execution says, and what it may leave out."""

from __future__ import annotations

import json

import pytest
from celery.app.task import Context

from shared.messaging.app import RUN_EXECUTION, make_app
from shared.messaging.messages import Messages, Outgoing
from shared.messaging.queues import Queues
from shared.settings import Settings
from tests.builders import QUEUES

APP = make_app(Settings(), Queues(frozenset({*QUEUES.values(), "manual"}), QUEUES))


def says(value: object) -> bool:
    """Whether a header with this value tells a worker anything."""
    return bool(value) and value != [None, None]


@pytest.mark.parametrize("limits", [(None, None), (3.5, None)])
def test_a_message_leaves_out_only_what_a_worker_assumes(limits: tuple[float | None, float | None]):
    message = Messages(APP).of(Outgoing("01k.0.20261126T080000Z", "scraping", 5, "Prices", limits))
    headers = message.properties["application_headers"]
    of_celery = APP.amqp.as_task_v2("", RUN_EXECUTION, args=("",), ignore_result=True)
    left_out = of_celery.headers.keys() - headers.keys() - {"origin"}
    assert left_out
    assert not [name for name in left_out if says(of_celery.headers[name]) or says(getattr(Context, name))]
    assert headers.get("timelimit") == (None if limits == (None, None) else [3.5, None])
    args, kwargs, embedded = json.loads(message.body)
    assert (args, kwargs) == (["01k.0.20261126T080000Z"], {})
    assert embedded.keys() <= of_celery.body[2].keys()
    assert not any(of_celery.body[2].values())
