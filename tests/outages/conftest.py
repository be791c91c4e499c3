"""The systems that the tests of outages work on: stores of their own, or ways to stores that can be cut."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING
from uuid import uuid4

import grpc
import pytest

from dev.mongodb import start_mongodb
from dev.run import ROOT
from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
from tests.acceptance.recorder import Recorder
from tests.acceptance.system import System
from tests.builders import own_vhost
from tests.chaos.proxy import Link, Proxy
from tests.outages.site import BEAT, OTHER, SERVER, WORKER, Site, beat_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.servers import Servers


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    with Recorder() as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outages")


@pytest.fixture(scope="module")
def config(folder: Path, recorder: Recorder) -> Path:
    """The project's configuration with the recorder as a target, and without jobs of its own."""
    copy = folder / "config"
    shutil.copytree(ROOT / "config", copy)
    (copy / "jobs.yaml").write_text("jobs: []\n")
    with (copy / "targets.yaml").open("a") as targets:
        targets.write(f"  recorder:\n    address: localhost:{recorder.port}\n")
    return copy


@pytest.fixture
def label() -> str:
    """What tells this test's calls and jobs from those of others."""
    return f"o-{uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, servers: Servers, folder: Path, config: Path, recorder: Recorder
) -> Iterator[Site]:
    """The system with two beats; MongoDB is its own, to be killed, RabbitMQ a virtual host behind links to be cut."""
    broker_url = own_vhost(servers.rabbitmq)

    def through(link: Link, url: str) -> str:
        return url.replace(f":{link.upstream}/", f":{link.port}/")

    with Proxy() as proxy:
        mongodb = start_mongodb(tmp_path_factory.mktemp("mongodb"))
        broker, beats_broker = (proxy.link(servers.rabbitmq.port) for _ in range(2))
        beats_store = proxy.link(mongodb.port)
        environment = {
            "MONGODB_URL": mongodb.url,
            "CELERY_BROKER_URL": through(broker, broker_url),
            "CELERY_RESULT_BACKEND": servers.redis.url,
            "CONFIG_DIR": str(config),
            "LOG_FORMAT": "json",
        }
        system = System(folder, environment, [SERVER, WORKER])
        try:
            system.start()
            with grpc.insecure_channel(system.address) as channel:
                beat = system.start_beat(
                    BEAT,
                    MONGODB_URL=through(beats_store, mongodb.url) + "?directConnection=true",
                    CELERY_BROKER_URL=through(beats_broker, broker_url),
                )
                yield Site(
                    system,
                    SchedulerServiceStub(channel),
                    recorder,
                    mongodb,
                    servers.rabbitmq,
                    broker_url.rpartition("/")[2],
                    broker,
                    beats_broker,
                    beats_store,
                    beat_name(beat),
                    beat_name(system.start_beat(OTHER)),
                )
        finally:
            system.stop()
            mongodb.kill()
