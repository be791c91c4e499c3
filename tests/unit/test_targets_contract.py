import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.protobuf import empty_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from shared.domain.errors import InvalidInput, Unavailable
from shared.targets import Target, Targets
from shared.targets.contract import Contract


def contract(*paths: str, streaming: str = "") -> Contract:
    """Return a contract with these methods (as pkg.Service/Method) that take and answer nothing."""
    pool = DescriptorPool()
    pool.AddSerializedFile(empty_pb2.DESCRIPTOR.serialized_pb)
    services = dict.fromkeys(path.partition("/")[0] for path in paths)
    for service in services:
        package, _, short = service.rpartition(".")
        file = FileDescriptorProto(name=f"{service}.proto", package=package, syntax="proto3")
        file.dependency.append("google/protobuf/empty.proto")
        made = file.service.add(name=short)
        for path in paths:
            if path.startswith(f"{service}/"):
                empty = ".google.protobuf.Empty"
                made.method.add(
                    name=path.partition("/")[2], input_type=empty, output_type=empty, server_streaming=path == streaming
                )
        pool.AddSerializedFile(file.SerializeToString())
    return Contract("shop", [pool.FindServiceByName(service) for service in services], pool)


def refusal(made: Contract, name: str) -> str:
    with pytest.raises(InvalidInput) as refused:
        made.method(name)
    (violation,) = refused.value.violations
    assert violation.field == "target_method"
    return violation.description


@pytest.mark.parametrize("name", ["Sell", "Shop/Sell", "a.v1.Shop/Sell", "/a.v1.Shop/Sell"])
def test_a_method_is_found_by_each_of_its_names(name: str) -> None:
    method = contract("a.v1.Shop/Sell", "a.v1.Shop/Buy").method(name)
    assert (method.name, method.path) == ("Sell", "/a.v1.Shop/Sell")


def test_an_unknown_method_is_told_with_the_closest_and_all_others() -> None:
    made = contract("a.Shop/SellAll", "a.Shop/Buy", "b.Shop/Buy")
    there = "(it has SellAll, a.Shop/Buy, b.Shop/Buy)"
    assert refusal(made, "SelAll") == f"'SelAll' is not a method of shop; did you mean SellAll? {there}"
    assert refusal(made, "a.Shop/SelAll").startswith("'a.Shop/SelAll' is not a method of shop; did you mean SellAll?")
    assert refusal(made, "").startswith("a method is required (it has SellAll")


def test_the_list_of_methods_is_capped() -> None:
    made = contract(*(f"a.Shop/Do{number:02}" for number in range(40)))
    assert refusal(made, "x").endswith("Do09, and 30 more)")


def test_a_short_name_in_several_services_is_ambiguous() -> None:
    made = contract("a.Shop/Buy", "b.Shop/Buy", "b.Bank/Buy")
    found = "a.Shop/Buy, b.Bank/Buy, b.Shop/Buy"
    assert refusal(made, "Buy") == f"'Buy' is a method of several services of shop; name one of {found}"
    assert refusal(made, "Shop/Buy").endswith("name one of a.Shop/Buy, b.Shop/Buy")
    assert made.method("Bank/Buy").service == "b.Bank"


def test_a_streaming_method_is_refused() -> None:
    made = contract("a.Shop/Buy", "a.Shop/Watch", streaming="a.Shop/Watch")
    assert "'Watch' of shop is a streaming method" in refusal(made, "Watch")
    assert refusal(made, "x").endswith("(it has Buy)")


class Reflected:
    """Plays the reading of a contract: hands out what it is given, one after another, and then the last again."""

    def __init__(self, *answers: Contract | Exception) -> None:
        self.answers = list(answers)
        self.reads = 0

    def __call__(self, _target: Target) -> Contract:
        self.reads += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def targets(read: Reflected, now: list[float]) -> Targets:
    return Targets([Target("shop", "localhost:1")], read=read, clock=lambda: now[0])


def test_a_contract_is_read_when_needed_and_kept() -> None:
    read = Reflected(contract("a.Shop/Buy"))
    shop = targets(read, [0.0])
    assert read.reads == 0
    for _ in range(3):
        shop.check("shop", "Buy", {})
    assert read.reads == 1


def test_a_method_deployed_since_is_found_by_reading_once_more() -> None:
    now = [0.0]
    read = Reflected(contract("a.Shop/Buy"), contract("a.Shop/Buy", "a.Shop/Sell"))
    shop = targets(read, now)
    shop.check("shop", "Buy", {})
    now[0] = 60.0
    assert shop.method("shop", "Sell").path == "/a.Shop/Sell"
    assert read.reads == 2


def test_repeated_mistakes_do_not_make_us_read_each_time() -> None:
    now = [0.0]
    read = Reflected(contract("a.Shop/Buy"))
    shop = targets(read, now)
    for _ in range(10):
        with pytest.raises(InvalidInput):
            shop.check("shop", "Sell", {})
    assert read.reads == 1
    now[0] = 60.0
    with pytest.raises(InvalidInput):
        shop.check("shop", "Sell", {})
    assert read.reads == 2


def test_a_contract_whose_results_do_not_fit_is_read_anew_unless_it_just_was() -> None:
    now = [0.0]
    read = Reflected(contract("a.Shop/Buy"), contract("a.Shop/Buy"))
    shop = targets(read, now)
    assert not shop.renew("shop")
    now[0] = 60.0
    assert shop.renew("shop")
    assert not shop.renew("shop")
    assert read.reads == 2


def test_whether_a_call_is_known_to_fit_is_told_without_reading() -> None:
    now = [0.0]
    read = Reflected(contract("a.Shop/Buy"))
    shop = targets(read, now)
    assert not shop.is_known_to_fit("shop", "Buy", {}), "nothing is known yet"
    assert not shop.is_known_to_fit("nowhere", "Buy", {})
    assert read.reads == 0
    shop.check("shop", "Buy", {})
    now[0] = 60.0
    assert shop.is_known_to_fit("shop", "Buy", {})
    assert not shop.is_known_to_fit("shop", "Sell", {}), "for which check would read once more"
    assert not shop.is_known_to_fit("shop", "Buy", {"unknown": 1})
    assert read.reads == 1


def test_a_failure_to_read_is_not_kept() -> None:
    read = Reflected(Unavailable("away"), contract("a.Shop/Buy"))
    shop = targets(read, [0.0])
    with pytest.raises(Unavailable):
        shop.check("shop", "Buy", {})
    shop.check("shop", "Buy", {})


def test_of_many_threads_one_reads_for_all() -> None:
    entered, go = threading.Event(), threading.Event()

    def read(_target: Target) -> Contract:
        assert not entered.is_set()
        entered.set()
        go.wait(60)
        return contract("a.Shop/Buy")

    shop = Targets([Target("shop", "localhost:1")], read=read)
    with ThreadPoolExecutor(8) as threads:
        found = [threads.submit(shop.method, "shop", "Buy") for _ in range(8)]
        assert entered.wait(60)
        go.set()
        assert {one.result(10).path for one in found} == {"/a.Shop/Buy"}


def test_an_unknown_target_is_told_with_those_there_are() -> None:
    shop = targets(Reflected(contract("a.Shop/Buy")), [0.0])
    with pytest.raises(InvalidInput) as refused:
        shop.check("shopp", "Buy", {})
    assert str(refused.value) == "target_service: 'shopp' is not a target; did you mean shop? (known: shop, task)"
    with pytest.raises(InvalidInput, match=r"^target_service: 'tasks' is not a target; did you mean task\? \("):
        shop.check("tasks", "app.tasks.my_custom_task", {})


def test_compiled_in_services_need_no_target_and_hide_the_others() -> None:
    def read(_target: Target) -> Contract:
        raise AssertionError

    ours = Targets([Target("scheduler-service", "localhost:1", ("scheduler.v1.MaintenanceService",))], read=read)
    ours.check("scheduler-service", "HealthCheckServices", {"timeout": "5s"})
    ours.forget("scheduler-service")
    with pytest.raises(InvalidInput, match="it has CleanupOldExecutionRecords, HealthCheckServices"):
        ours.check("scheduler-service", "CreateScheduledJob", {})


def test_services_of_which_one_is_not_compiled_in_are_all_read_from_the_target() -> None:
    read = Reflected(contract("a.Shop/Buy"))
    Targets([Target("s", "localhost:1", ("scraper.v1.ScraperService", "a.Shop"))], read=read).check("s", "Buy", {})
    assert read.reads == 1
