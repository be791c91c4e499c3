"""Targets as their users see them: registered, described, tested; and what becomes of jobs whose target changes."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from prometheus_client import REGISTRY
from pymongo import ReturnDocument
from pymongo.errors import AutoReconnect
from structlog.testing import capture_logs

from scheduler_service.targets import drift
from scheduler_service.targets.drift import problems_of
from scheduler_service.targets.registry import TargetRegistry
from scheduler_service.targets.use import TargetUse
from shared.domain.errors import InvalidInput, Violation
from shared.proto import maintenance_service_pb2 as maintenance
from shared.proto import scheduler_service_pb2 as jobs_pb
from shared.proto import target_service_pb2 as pb
from shared.store import calls
from shared.store import targets as store
from shared.store.mongo import connect
from shared.targets import Target, Targets
from shared.targets.registrations import Registrations
from shared.tasks.registry import Tasks
from tests.integration.test_server_harness import Running, eventually, interval, refusal
from tests.integration.test_server_harness import serving as scheduling
from tests.integration.test_server_requests import died, leases_end, lose_answers
from tests.integration.test_targets import SOON, calling, claimed, serving, shop
from worker.answers import Succeeded
from worker.target import Cancellation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from pymongo.database import Database

    from tests.integration.test_targets import Server


@pytest.fixture
async def server(database: Database[dict[str, Any]], database_url: str) -> AsyncIterator[Running]:  # noqa: ARG001
    async with scheduling(database_url) as running:
        yield running


async def register(server: Running, address: str, name: str = "shop", **fields: Any) -> pb.Target:
    response = await server.targets.RegisterTarget(pb.RegisterTargetRequest(name=name, address=address, **fields))
    target: pb.Target = response.target
    return target


async def sell(server: Running, job_id: str = "sell", **fields: Any) -> jobs_pb.ScheduledJob:
    """Create a job that calls the registered shop."""
    chosen = {"target_service": "shop", "target_method": "Sell", "parameters": {"count": 3}, **fields}
    return await server.create(job_id=job_id, schedule_config=interval(hours="1"), **chosen)


async def drift_of(server: Running, job_id: str = "sell") -> list[str]:
    status = await server.stub.GetJobStatus(jobs_pb.GetJobStatusRequest(job_id=job_id))
    return list(status.job.drift)


async def check_health(server: Running) -> maintenance.HealthCheckServicesResponse:
    request = maintenance.HealthCheckServicesRequest(timeout=Duration(seconds=5))
    response: maintenance.HealthCheckServicesResponse = await server.maintenance.HealthCheckServices(request)
    return response


# Registering:


async def test_a_job_can_be_made_for_a_target_as_soon_as_it_is_registered(server: Running) -> None:
    with serving(shop()) as target:
        registered = await register(server, f"http://{target.address}/", services=["shop.v1.Shop"], description="Sells")
        job = await sell(server)
        wrong = await refusal(sell(server, "wrong", parameters={"cuont": 1}))
    assert registered.address == target.address
    assert (registered.source, registered.updated_by != "") == (pb.Target.SOURCE_REGISTERED, True)
    assert registered.created_at == registered.updated_at
    assert registered.etag
    assert job.target_service == "shop"
    assert wrong.violations[0][0] == "parameters.cuont"


async def test_another_server_knows_a_target_at_once_and_its_new_address_within_seconds(
    server: Running, database_url: str
) -> None:
    with elsewhere(database_url) as targets, serving(shop()) as target:
        with pytest.raises(InvalidInput, match="'shop' is not a target"):
            targets.address("shop")
        await register(server, target.address)
        assert targets.address("shop") == target.address
        await register(server, "shop.example:1")

        async def moved() -> bool:
            return targets.address("shop") == "shop.example:1"

        await eventually(moved)
        await server.targets.UnregisterTarget(pb.UnregisterTargetRequest(name="shop"))

        async def gone() -> bool:
            return "shop" not in targets.names

        await eventually(gone)


@contextmanager
def elsewhere(database_url: str, *configured: Target) -> Iterator[Targets]:
    """The targets of another process."""
    database = connect(database_url)
    targets = Targets(configured)
    registrations = Registrations(database, targets)
    registrations.start()
    try:
        yield targets
    finally:
        registrations.stop()
        database.client.close()


async def test_registered_targets_are_there_after_a_restart(database_url: str) -> None:
    async with scheduling(database_url) as server:
        before = await register(server, "shop.example:50051", description="Sells")
    async with scheduling(database_url) as server:
        described = await server.targets.DescribeTarget(pb.DescribeTargetRequest(name="shop"))
    described.target.ClearField("jobs")
    assert described.target == before


async def test_while_the_store_is_away_the_last_known_list_is_in_force(server: Running, database_url: str) -> None:
    await register(server, "shop.example:50051")
    database = connect(database_url)
    targets = Targets([])
    registrations = Registrations(database, targets)
    registrations.look()
    database.client.close()
    registrations.look()
    assert targets.address("shop") == "shop.example:50051"
    with pytest.raises(InvalidInput, match="'shpo' is not a target; did you mean shop"):
        targets.address("shpo")


async def test_a_call_in_progress_ends_where_it_began_and_the_next_one_goes_to_the_new_address(
    server: Running, database_url: str
) -> None:
    entered, go_on = threading.Event(), threading.Event()
    outcomes: list[Any] = []

    def wait(request: Any, _context: Any) -> Any:
        entered.set()
        go_on.wait(SOON)
        return request

    with (
        serving(shop(), handler=wait) as old,
        serving(shop()) as new,
        elsewhere(database_url) as targets,
        calling(targets) as caller,
    ):
        await register(server, old.address)
        call = threading.Thread(target=lambda: outcomes.append(caller.call(claimed(), Cancellation())))
        call.start()
        assert entered.wait(SOON)
        await register(server, new.address)

        async def moved() -> bool:
            return targets.address("shop") == new.address

        await eventually(moved)
        assert isinstance(caller.call(claimed(), Cancellation()), Succeeded)
        go_on.set()
        call.join(SOON)
        assert (len(old.calls), len(new.calls)) == (1, 1)
    assert isinstance(outcomes[0], Succeeded)


async def test_what_is_wrong_with_a_target_is_said_all_at_once(server: Running) -> None:
    refused = await refusal(
        server.targets.RegisterTarget(
            pb.RegisterTargetRequest(
                name="My Shop",
                address="https://shop.example:443",
                services=["shop.v1.Shop", "not a service"],
                description="x" * 2_001,
            )
        )
    )
    assert refused.code == "INVALID_ARGUMENT"
    assert [field for field, _ in refused.violations] == ["name", "address", "services[1]", "description"]


@pytest.mark.parametrize(
    "address",
    [
        "", "shop", "shop:0", "shop:99999", "unix:/run/shop.sock", "unix-abstract:shop", "user:secret@shop:1",
        "169.254.169.254:80", "[fe80::1]:50051", "[::ffff:169.254.169.254]:80", "0.0.0.0:50051", "224.0.0.1:5",
        "shop\x1b[2J:1", "${SHOP_URL}", "shop/path:1", "xds:///shop:1", "ipv4:1", "vsock:1",
        "x" * 400 + ":1", "sh op:1", "-shop:1",
        "2852039166:80", "0xA9FEA9FE:80", "169.254.43518:80", "0251.0376.0251.0376:80", "169.254.169.254.:80", "0:80",
    ],
)  # fmt: skip
async def test_an_address_that_workers_must_not_or_cannot_connect_to_is_refused(server: Running, address: str) -> None:
    refused = await refusal(server.targets.RegisterTarget(pb.RegisterTargetRequest(name="shop", address=address)))
    assert (refused.code, [field for field, _ in refused.violations]) == ("INVALID_ARGUMENT", ["address"])
    assert "secret" not in refused.message


async def test_only_hosts_of_the_setting_can_be_registered(database_url: str) -> None:
    async with scheduling(database_url, target_hosts=("*.Internal", "10.1.*")) as server:
        await register(server, "Shop.internal:1")
        await register(server, "10.1.0.7:1")
        refused = await refusal(register(server, "shop.example:1"))
    assert "TARGET_HOSTS: *.Internal, 10.1.*" in refused.message


@pytest.mark.parametrize("name", ["scraper-service", "scheduler-service", "task"])
async def test_names_of_the_configuration_can_be_neither_registered_nor_unregistered(
    server: Running, name: str
) -> None:
    registered = await refusal(register(server, "shop.example:1", name))
    unregistered = await refusal(server.targets.UnregisterTarget(pb.UnregisterTargetRequest(name=name)))
    assert (registered.code, unregistered.code) == ("FAILED_PRECONDITION", "FAILED_PRECONDITION")


async def test_a_change_of_somebody_else_is_not_overwritten(server: Running) -> None:
    first = await register(server, "one.example:1")
    again = await register(server, "one.example:1", etag=first.etag)
    second = await register(server, "two.example:1", etag=first.etag)
    refused = await refusal(register(server, "three.example:1", etag=first.etag))
    removal = await refusal(server.targets.UnregisterTarget(pb.UnregisterTargetRequest(name="shop", etag=first.etag)))
    assert again == first, "what is as it is wanted stays as it is"
    assert second.created_at == first.created_at
    assert (refused.code, removal.code) == ("ABORTED", "ABORTED")
    assert second.updated_by in refused.message
    await server.targets.UnregisterTarget(pb.UnregisterTargetRequest(name="shop", etag=second.etag))
    gone = await refusal(register(server, "two.example:1", etag=second.etag))
    assert gone.code == "ABORTED"


async def test_a_change_between_the_look_and_the_write_is_not_overwritten(server: Running) -> None:
    await register(server, "one.example:1")
    looked = await server.database.targets.find_one(store.list_filter())
    await register(server, "two.example:1")
    late = store.put("shop", "late.example:1", (), "", "somebody")
    written = await server.database.targets.update_one(store.at_version(looked["version"]), late)
    assert written.matched_count == 0


async def registration_that_died(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Register a target by a server that dies before it answers; the request "r" can be repeated."""
    with monkeypatch.context() as patch:
        lose_answers(patch)
        await died(register(server, "one.example:1", request_id="r"))
    await leases_end(server)


async def test_a_repeated_registration_whose_server_died_leaves_what_others_have_made_of_it(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registration_that_died(server, monkeypatch)
    second = await register(server, "two.example:1")
    assert await register(server, "one.example:1", request_id="r") == second
    assert (await described(server)).address == "two.example:1"


async def test_a_repeated_registration_whose_server_died_does_not_bring_back_what_was_unregistered(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registration_that_died(server, monkeypatch)
    await server.targets.UnregisterTarget(pb.UnregisterTargetRequest(name="shop"))
    again = await register(server, "one.example:1", request_id="r")
    assert (again.address, again.etag) == ("one.example:1", "")
    assert (await refusal(described(server))).code == "NOT_FOUND"


async def removal_that_died(server: Running, monkeypatch: pytest.MonkeyPatch) -> pb.UnregisterTargetRequest:
    """Remove a target by a server that dies before it answers; return the request, which can be repeated."""
    removal = pb.UnregisterTargetRequest(name="shop", request_id="r")
    await register(server, "one.example:1")
    with monkeypatch.context() as patch:
        lose_answers(patch)
        await died(server.targets.UnregisterTarget(removal))
    await leases_end(server)
    return removal


async def test_a_repeated_removal_whose_server_died_leaves_what_was_registered_anew(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    removal = await removal_that_died(server, monkeypatch)
    await register(server, "two.example:1")
    await server.targets.UnregisterTarget(removal)
    assert (await described(server)).address == "two.example:1"


async def test_a_repeated_removal_whose_token_is_not_kept_any_more_is_done(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    removal = await removal_that_died(server, monkeypatch)
    await server.database.targets.update_one(store.list_filter(), {"$unset": {"requests": ""}})
    await server.targets.UnregisterTarget(removal)
    assert (await refusal(described(server))).code == "NOT_FOUND"


async def test_the_list_keeps_the_requests_that_changed_it_last(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST_KEPT_REQUESTS", 3)
    for number in range(5):
        await register(server, f"shop-{number}.example:1", request_id=f"r{number}")
    kept = [each["token"] async for each in server.database.requests.find(sort=[("_id", 1)])][-3:]
    assert (await server.database.targets.find_one(store.list_filter()))["requests"] == kept


async def test_what_is_registered_already_by_a_read_from_before_a_change_is_registered_again(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by the reads of a primary that was just elected."""
    await register(server, "one.example:1")
    before = store.to_registered(await server.database.targets.find_one(store.list_filter()))
    await register(server, "two.example:1")
    registered = TargetRegistry._registered
    reads = iter([before])

    async def read(registry: TargetRegistry) -> store.Registered:
        return next(reads, None) or await registered(registry)

    monkeypatch.setattr(TargetRegistry, "_registered", read)
    assert (await register(server, "one.example:1")).address == "one.example:1"
    assert (await described(server)).address == "one.example:1"


async def described(server: Running) -> pb.Target:
    target: pb.Target = (await server.targets.DescribeTarget(pb.DescribeTargetRequest(name="shop"))).target
    return target


async def test_validate_onlying_changes_nothing(server: Running) -> None:
    checked = await register(server, "shop.example:1", description="Sells", validate_only=True)
    assert (checked.address, checked.description, checked.etag) == ("shop.example:1", "Sells", "")
    assert (await refusal(server.targets.DescribeTarget(pb.DescribeTargetRequest(name="shop")))).code == "NOT_FOUND"
    await register(server, "shop.example:1")
    await server.targets.UnregisterTarget(pb.UnregisterTargetRequest(name="shop", validate_only=True))
    assert (await server.targets.DescribeTarget(pb.DescribeTargetRequest(name="shop"))).target.name == "shop"


async def test_what_may_surprise_is_said_when_a_target_is_registered(server: Running) -> None:
    with serving(shop()) as target:
        request = pb.RegisterTargetRequest(name="shop", address=target.address, services=["shop.v1.Bakery"])
        lacks = await server.targets.RegisterTarget(request)
    request = pb.RegisterTargetRequest(name="shop", address=target.address)
    silent = await server.targets.RegisterTarget(request)
    assert "another host for each worker" in lacks.warnings[0]
    assert "does not offer shop.v1.Bakery" in lacks.warnings[1]
    assert "its contract is not known yet" in silent.warnings[1]


def a_fan_out_over_the_shop() -> dict[str, Any]:
    source = jobs_pb.FanOut.Source(target_service="shop", target_method="Sell", path="free.items")
    return {
        "fan_out": jobs_pb.FanOut(source=source),
        "target_service": "scraper-service",
        "target_method": "ScrapeCompetitorPrices",
        "parameters": {"competitor_ids": ["${item}"]},
    }


def a_workflow_with_the_shop() -> dict[str, Any]:
    step = jobs_pb.Workflow.Step(name="sell", target_service="shop", target_method="Sell")
    workflow = jobs_pb.Workflow(steps=[step])
    return {"workflow": workflow, "target_service": None, "target_method": None, "parameters": None}


@pytest.mark.parametrize("how", [dict, a_workflow_with_the_shop, a_fan_out_over_the_shop])
async def test_a_target_that_jobs_use_is_not_unregistered(server: Running, how: Callable[[], dict[str, Any]]) -> None:
    with serving(shop()) as target:
        await register(server, target.address)
        await sell(server, "seller", **how())
        refused = await refusal(server.targets.UnregisterTarget(pb.UnregisterTargetRequest(name="shop")))
        described = await server.targets.DescribeTarget(pb.DescribeTargetRequest(name="shop"))
        assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "TARGET_IN_USE")
        assert "seller" in refused.message
        assert described.target.jobs == 1
        await server.stub.DeleteScheduledJob(jobs_pb.DeleteScheduledJobRequest(job_id="seller"))
        await server.targets.UnregisterTarget(pb.UnregisterTargetRequest(name="shop"))
        refused = await refusal(sell(server, "another"))
    assert [field for field, _ in refused.violations] == ["target_service"]


async def test_flows_of_before_their_targets_were_kept_count_too(server: Running) -> None:
    with serving(shop()) as target:
        await register(server, target.address)
        await sell(server, "seller", **a_workflow_with_the_shop())
        await server.database.jobs.update_one({"_id": "seller"}, {"$unset": {"flow.targets": ""}})
        assert await TargetUse(server.database).count("shop") == 0
        await TargetUse(server.database).note_flows()
        assert await TargetUse(server.database).count("shop") == 1


async def test_targets_registered_at_the_same_time_are_all_there(server: Running) -> None:
    await asyncio.gather(*(register(server, f"shop-{n}.example:1", f"shop-{n}") for n in range(5)))
    listed = await server.targets.ListTargets(pb.ListTargetsRequest(page_size=1000))
    assert {f"shop-{n}" for n in range(5)} <= {target.name for target in listed.targets}


async def test_a_list_of_targets_goes_on_page_by_page(server: Running) -> None:
    for name in ("apples", "zucchini"):
        await register(server, f"{name}.example:1", name)
    names: list[str] = []
    token = ""
    while True:
        page = await server.targets.ListTargets(pb.ListTargetsRequest(page_size=2, page_token=token))
        names += [target.name for target in page.targets]
        token = page.next_page_token
        if not token:
            break
    assert names == ["apples", "pricing-service", "scheduler-service", "scraper-service", "task", "zucchini"]
    refused = await refusal(server.targets.ListTargets(pb.ListTargetsRequest(page_size=-1, page_token="x")))
    assert [field for field, _ in refused.violations] == ["page_size", "page_token"]


# Describing and testing:


async def test_the_example_of_a_method_makes_a_job(server: Running) -> None:
    with serving(shop()) as target:
        await register(server, target.address)
        described = await server.targets.DescribeTarget(pb.DescribeTargetRequest(name="shop"))
        (method,) = described.methods
        await sell(server, parameters=json_format.MessageToDict(method.example))
    assert (method.name, method.full_name, method.callable) == ("Sell", "shop.v1.Shop/Sell", True)
    assert [(field.path, field.type) for field in method.fields] == [
        ("name", "string"),
        ("count", "int32"),
        ("at", "google.protobuf.Timestamp"),
        ("span", "google.protobuf.Duration"),
        ("free", "google.protobuf.Struct"),
        ("wrapped", "google.protobuf.Int32Value"),
    ]
    assert set(method.example) == {field.path for field in method.fields}


async def test_a_target_that_is_down_is_described_with_the_reason_why_its_methods_are_missing(server: Running) -> None:
    await register(server, "127.0.0.1:1")
    described = await server.targets.DescribeTarget(pb.DescribeTargetRequest(name="shop"))
    assert not described.methods
    assert "can't be read: UNAVAILABLE" in described.warning


async def test_a_target_that_is_compiled_in_is_described_while_it_is_down(server: Running) -> None:
    request = pb.DescribeTargetRequest(
        name="scraper-service", method="scraper.v1.ScraperService/ScrapeCompetitorPrices"
    )
    described = await server.targets.DescribeTarget(request)
    assert [method.name for method in described.methods] == ["ScrapeCompetitorPrices"]
    refused = await refusal(
        server.targets.DescribeTarget(pb.DescribeTargetRequest(name="scraper-service", method="Scrape"))
    )
    assert [field for field, _ in refused.violations] == ["method"]


async def test_a_test_of_a_target_names_the_jobs_that_do_not_fit_it(server: Running) -> None:
    with serving(shop()) as target:
        await register(server, target.address)
        await sell(server)
        await sell(server, "named", parameters={"name": "apples"})
        well = await server.targets.TestTarget(pb.TestTargetRequest(name="shop"))
    changed = shop()
    del changed.message_type[0].field[1]
    with serving(changed, port=port_of(target)):
        unwell = await server.targets.TestTarget(pb.TestTargetRequest(name="shop"))
    away = await server.targets.TestTarget(pb.TestTargetRequest(name="shop", timeout=Duration(seconds=2)))
    assert (well.status, well.contract_read, well.jobs_checked, well.misfits_total) == (
        pb.TestTargetResponse.STATUS_SERVING, True, 2, 0,
    )  # fmt: skip
    assert (unwell.jobs_checked, unwell.misfits_total) == (2, 1)
    (misfit,) = unwell.misfits
    assert (misfit.job_id, "parameters.count" in misfit.problems[0]) == ("sell", True)
    assert (away.status, away.contract_read) == (pb.TestTargetResponse.STATUS_UNREACHABLE, False)
    assert away.message


def port_of(target: Server) -> int:
    return int(target.address.rpartition(":")[2])


@pytest.mark.parametrize("timeout", [Duration(), Duration(seconds=-1), Duration(seconds=61)])
async def test_a_timeout_out_of_bounds_is_refused(server: Running, timeout: Duration) -> None:  # noqa: ASYNC109
    refused = await refusal(server.targets.TestTarget(pb.TestTargetRequest(name="task", timeout=timeout)))
    assert [field for field, _ in refused.violations] == ["timeout"]


@pytest.mark.parametrize("method", ["DescribeTarget", "TestTarget", "UnregisterTarget"])
async def test_a_target_that_there_is_not_is_not_found_and_no_name_is_refused(server: Running, method: str) -> None:
    kind = getattr(pb, f"{method}Request")
    call = getattr(server.targets, method)
    assert (await refusal(call(kind(name="shpo")))).code == "NOT_FOUND"
    assert [field for field, _ in (await refusal(call(kind()))).violations] == ["name"]


# Drift:


async def test_a_job_whose_target_has_changed_is_shown_until_it_fits_again(server: Running) -> None:
    changed = shop()
    changed.message_type[0].field[1].name = "amount"
    with serving(shop()) as target:
        await register(server, target.address)
        await sell(server)
        await sell(server, "named", parameters={"name": "apples"})
        before = await check_health(server)
        assert (before.jobs_checked, before.drifts_total) == (2, 0)
    with serving(changed, port=port_of(target)):
        found = await check_health(server)
        problems = await drift_of(server)
        assert [(drift.job_id, list(drift.problems)) for drift in found.drifts] == [("sell", problems)]
        assert "parameters.count: Order has no such field" in problems[0]
        assert await drift_of(server, "named") == []
        assert REGISTRY.get_sample_value("scheduler_server_drifted_jobs") == 1
        again = await check_health(server)
        assert (again.jobs_checked, again.drifts_total) == (0, 1), "what has not changed is not looked at again"
        assert again.drifts[0].since == found.drifts[0].since
    away = await check_health(server)
    assert away.drifts_total == 1, "nothing is known of a target that is away"
    with serving(shop(), port=port_of(target)):
        after = await check_health(server)
    assert (after.jobs_checked, after.drifts_total) == (2, 0)
    assert await drift_of(server) == []


async def test_an_update_of_a_job_clears_its_drift(server: Running) -> None:
    changed = shop()
    changed.message_type[0].field[1].name = "amount"
    with serving(shop()) as target:
        await register(server, target.address)
        await sell(server)
        await check_health(server)
    with serving(changed, port=port_of(target)):
        await check_health(server)
        assert await drift_of(server)
        parameters = Struct()
        parameters.update({"amount": 3})
        job = jobs_pb.ScheduledJob(parameters=parameters)
        request = jobs_pb.UpdateScheduledJobRequest(job_id="sell", job=job)
        updated = await server.stub.UpdateScheduledJob(request)
        assert list(updated.job.drift) == []
        checked = await check_health(server)
    assert (checked.jobs_checked, checked.drifts_total) == (1, 0)


async def test_an_import_of_a_drifted_job_that_leaves_alone_what_it_calls_changes_the_rest(server: Running) -> None:
    changed = shop()
    changed.message_type[0].field[1].name = "amount"
    with serving(shop()) as target:
        await register(server, target.address)
        await sell(server)
    exported = (await server.stub.ExportScheduledJobs(jobs_pb.ExportScheduledJobsRequest())).yaml
    text = exported.replace("hours: '1'", "hours: '2'").replace("name: Prices", "name: Other")
    assert text != exported
    with serving(changed, port=port_of(target)):
        await check_health(server)
        assert await drift_of(server)
        (change,) = (await server.stub.ImportScheduledJobs(jobs_pb.ImportScheduledJobsRequest(yaml=text))).changes
    assert (change.action, change.error) == (jobs_pb.ImportScheduledJobsResponse.Change.ACTION_UPDATE, "")
    job = (await server.stub.GetScheduledJob(jobs_pb.GetScheduledJobRequest(job_id="sell"))).job
    assert (job.name, job.schedule_config.config["hours"]) == ("Other", "2")


async def test_another_address_of_a_target_clears_the_drift_of_its_jobs(server: Running) -> None:
    with serving(shop()) as target:
        await register(server, target.address)
        await sell(server)
    with serving(shop("Buy"), port=port_of(target)):
        await check_health(server)
        assert "'Sell' is not a method of shop" in (await drift_of(server))[0]
    with serving(shop()) as moved:
        await register(server, moved.address)
        assert await drift_of(server) == []
        assert (await check_health(server)).drifts_total == 0


async def test_a_target_without_the_service_that_was_registered_fits_none_of_its_jobs(server: Running) -> None:
    with serving(shop()) as target:
        await register(server, target.address, services=["shop.v1.Shop"])
        await sell(server)
        await check_health(server)
    with serving(shop(package="shop.v2"), port=port_of(target)):
        found = await check_health(server)
    assert [drift.job_id for drift in found.drifts] == ["sell"]
    assert "does not offer shop.v1.Shop; its reflection lists shop.v2.Shop" in (await drift_of(server))[0]


async def test_a_job_that_is_undeleted_is_held_against_what_its_target_is_by_then(server: Running) -> None:
    with serving(shop()) as target:
        await register(server, target.address)
        await sell(server)
        await check_health(server)
    await server.stub.DeleteScheduledJob(jobs_pb.DeleteScheduledJobRequest(job_id="sell"))
    with serving(shop("Buy"), port=port_of(target)):
        assert (await check_health(server)).drifts_total == 0
        await server.stub.UndeleteScheduledJob(jobs_pb.UndeleteScheduledJobRequest(job_id="sell"))
        assert (await check_health(server)).drifts_total == 1
        await server.stub.DeleteScheduledJob(jobs_pb.DeleteScheduledJobRequest(job_id="sell"))
        assert (await check_health(server)).drifts_total == 0


async def test_a_workflow_is_held_against_each_of_its_targets(server: Running) -> None:
    with serving(shop()) as target:
        await register(server, target.address)
        await sell(server, "flow", **a_workflow_with_the_shop())
        await check_health(server)
    with serving(shop("Buy"), port=port_of(target)):
        await check_health(server)
    (problem,) = await drift_of(server, "flow")
    assert problem.startswith("workflow.steps[0].target_method: 'Sell' is not a method of shop")


async def test_a_job_whose_target_is_gone_is_shown(server: Running) -> None:
    with serving(shop()) as target:
        await register(server, target.address)
        await sell(server)
    await server.database.targets.delete_many({})
    await server.database.targets.insert_one({"_id": "registered", "version": "another", "targets": {}})

    async def found() -> bool:
        return (await check_health(server)).drifts_total == 1

    await eventually(found)
    assert "'shop' is not a target" in (await drift_of(server))[0]


async def test_an_edit_while_a_job_is_checked_is_not_undone(server: Running) -> None:
    """The mark stays, and the next look takes the job as it is then."""
    with serving(shop()) as target:
        await register(server, target.address)
        await sell(server)
        before = await server.database.jobs.find_one({"_id": "sell"})
        await server.stub.PauseScheduledJob(jobs_pb.PauseScheduledJobRequest(job_id="sell"))
        judged = await server.database.jobs.update_one(calls.judged_filter(before), calls.judged(["wrong"]))
        assert judged.matched_count == 0
        assert (await check_health(server)).jobs_checked == 1


@pytest.mark.parametrize("dies", [False, True], ids=["goes on", "dies"])
async def test_a_job_that_was_judged_by_what_its_target_was_before_is_judged_again(
    server: Running, monkeypatch: pytest.MonkeyPatch, *, dies: bool
) -> None:
    """The contract changes, and another look notes it, after the first one has read the contract and the job.

    Whether the first one goes on then, or its last act is to write what it has found.
    """
    judging, noted = threading.Event(), threading.Event()
    write = drift.Drift._judge

    def judge(*asked: Any) -> list[list[str] | None]:
        judging.set()
        noted.wait(60)
        return problems_of(*asked)

    async def write_and_die(*asked: Any) -> None:
        await write(*asked)
        raise AutoReconnect("it is gone")

    with serving(shop()) as target:
        await register(server, target.address)
        await sell(server)
        monkeypatch.setattr(drift, "problems_of", judge)
        monkeypatch.setattr(drift.Drift, "_judge", write_and_die if dies else write)
        slow = asyncio.create_task(check_health(server))
        await asyncio.to_thread(judging.wait, 60)
    with serving(shop("Buy"), port=port_of(target)):
        tested = await server.targets.TestTarget(pb.TestTargetRequest(name="shop"))
        assert tested.misfits_total == 1
        with capture_logs() as logs:
            noted.set()
            first = await slow
        assert (first.jobs_checked, first.jobs_left) == (0, True)
        assert not [line for line in logs if line["action"] in {"job_drifted", "job_fits_again"}]
        monkeypatch.undo()
        again = await check_health(server)
    assert (again.jobs_checked, again.drifts_total) == (1, 1)


async def test_a_job_that_was_marked_for_another_contract_is_not_judged_by_the_one_of_before(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The contract changes, and another look notes it, after the first one has noted what it read, and no job yet."""
    note = drift.Drift._mark_changed

    async def overtaken(look: drift.Drift, known: Any) -> None:
        await note(look, known)
        await note(look, {"shop": "another one"})

    with serving(shop()) as target:
        await register(server, target.address)
        await sell(server)
        monkeypatch.setattr(drift.Drift, "_mark_changed", overtaken)
        first = await check_health(server)
        assert (first.jobs_checked, first.jobs_left) == (0, True)
        monkeypatch.undo()
        assert (await check_health(server)).jobs_checked == 1


async def test_a_marking_that_broke_off_goes_on_where_it_ended(server: Running) -> None:
    """With a million jobs it takes longer than it may; each one that was marked is judged once for it."""
    with serving(shop()) as target:
        await register(server, target.address)
        await sell(server, "first")
        await sell(server, "second")
        await check_health(server)
        begun = [
            await server.database.target_contracts.find_one_and_update(
                {"_id": "shop"}, store.contract_coming("another one"), return_document=ReturnDocument.AFTER
            )
            for _ in range(2)
        ]
        assert begun[0]["marking"] == begun[1]["marking"]
        chosen, update = calls.mark_unchecked("shop", begun[0]["marking"])
        await server.database.jobs.update_one({**chosen, "_id": "first"}, update)
        assert (await server.database.jobs.update_many(chosen, update)).modified_count == 1


async def test_a_look_that_another_one_overtook_while_it_marked_jobs_does_not_note_its_contract(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one may have judged by its own what was marked for this one's; the next look sees that they differ."""
    first, last = (InvalidInput([Violation("", said)]) for said in ("what it was first", "what it was last"))
    slow, quick = (drift.Drift(server.database, Targets([]), Tasks({})) for _ in range(2))
    mark = slow._jobs.update_many

    async def overtaken(*asked: Any) -> Any:
        await quick.read_now("shop", last)
        return await mark(*asked)

    monkeypatch.setattr(slow, "_jobs", SimpleNamespace(update_many=overtaken))
    await slow.read_now("shop", first)
    noted = await server.database.target_contracts.find_one({"_id": "shop"})
    await quick.read_now("shop", last)
    again = await server.database.target_contracts.find_one({"_id": "shop"})
    assert noted is not None
    assert again is not None
    assert store.noted_contract(noted) == store.noted_contract(again)


async def test_what_a_server_of_an_older_release_noted_and_marked_no_job_for_is_made_up_for(server: Running) -> None:
    """It keeps no marking, so that one of before must not be there, for which the jobs were marked already."""
    first, last = (InvalidInput([Violation("", said)]) for said in ("what it was first", "what it was last"))
    look = drift.Drift(server.database, Targets([]), Tasks({}))
    with serving(shop()) as target:
        await register(server, target.address)
        await sell(server)
    await look.read_now("shop", first)
    await server.database.jobs.update_many(calls.IS_UNCHECKED, {"$unset": calls.IS_UNCHECKED})
    coming = {"coming": drift._fingerprint(last)}
    await server.database.target_contracts.update_one({"_id": "shop"}, {"$set": coming})
    await look.read_now("shop", last)
    assert await server.database.jobs.count_documents(calls.IS_UNCHECKED) == 1


async def test_a_look_that_broke_off_before_it_noted_a_contract_is_made_up_for(server: Running) -> None:
    with serving(shop()) as target:
        await register(server, target.address)
        await sell(server)
        assert (await check_health(server)).jobs_checked == 1
        await server.database.target_contracts.update_one({"_id": "shop"}, store.contract_coming("another"))
        assert (await check_health(server)).jobs_checked == 1
        assert (await check_health(server)).jobs_checked == 0
