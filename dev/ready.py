"""Whether a part of the running system does its work: asked of the part itself, as its users would."""

import http.client
from collections.abc import Callable
from contextlib import closing
from typing import Any

import grpc
from celery import Celery
from grpc_health.v1 import health_pb2, health_pb2_grpc
from kombu.exceptions import KombuError
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from dev.mongodb import DATABASE
from dev.server import HOST

PATIENCE = 2.0  # seconds for one answer

Check = Callable[[], bool]
"""Whether it is ready now; must answer within seconds."""


def grpc_serving(port: int) -> Check:
    """Whether the gRPC server on the port says SERVING, by the standard health check."""

    def check() -> bool:
        # A new channel each time: one that failed to connect would back off for longer than we want to wait.
        with grpc.insecure_channel(f"{HOST}:{port}") as channel:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]  # stubs without methods
                    health_pb2.HealthCheckRequest(), timeout=PATIENCE, wait_for_ready=True
                )
            except grpc.RpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    return check


def servers_serving(port: int, mongodb_url: str, count: int) -> Check:
    """Whether the gRPC server on the port serves, and so many of its processes say that they live.

    One connection reaches but one of them. Those that were there before this call may be of a server that was killed.
    """
    serving = grpc_serving(port)

    def alive() -> set[tuple[str, str]]:
        with MongoClient[dict[str, Any]](mongodb_url, serverSelectionTimeoutMS=int(PATIENCE * 1000)) as client:
            servers = client.get_default_database(DATABASE)["processes"].find({"kind": "SERVER"})
            return {(server["_id"], server["run"]) for server in servers}

    before = alive()

    def check() -> bool:
        try:
            return len(alive() - before) >= count and serving()
        except PyMongoError:
            return False

    return check


def worker_answering(broker_url: str) -> Check:
    """Whether a Celery worker answers a ping over the broker, as `celery inspect ping` asks it."""

    def check() -> bool:
        with Celery(broker=broker_url, set_as_current=False) as app:
            app.conf.broker_connection_timeout = PATIENCE
            try:
                return bool(app.control.ping(timeout=1.0, limit=1))
            except (KombuError, OSError):
                return False

    return check


def beat_leasing(mongodb_url: str) -> Check:
    """Whether a beat holds a lease, by the database's clock, that it took or renewed after this call.

    A lease that stood before may belong to a beat that was killed a second ago.
    """

    def leases() -> dict[Any, Any]:
        with MongoClient[dict[str, Any]](mongodb_url, serverSelectionTimeoutMS=int(PATIENCE * 1000)) as client:
            beats = client.get_default_database(DATABASE)["beats"]
            valid = beats.find({"$expr": {"$gt": ["$expires_at", "$$NOW"]}})
            return {beat["_id"]: beat["expires_at"] for beat in valid}

    before = leases()

    def check() -> bool:
        try:
            return bool(leases().items() - before.items())
        except PyMongoError:
            return False

    return check


def http_answering(port: int) -> Check:
    """Whether an HTTP server answers on the port, be it that a password is wanted."""

    def check() -> bool:
        with closing(http.client.HTTPConnection(HOST, port, timeout=PATIENCE)) as connection:
            try:
                connection.request("GET", "/")
                return connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
            except (OSError, http.client.HTTPException):
                return False

    return check
