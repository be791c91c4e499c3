"""The example targets as real processes, against a real MongoDB and real HTTP servers, of which some misbehave."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

import grpc
import pytest
from bson.decimal128 import Decimal128
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from pymongo import MongoClient

from shared.proto.pricing_service_pb2 import ComprehensivePriceAnalysisRequest
from shared.proto.pricing_service_pb2_grpc import PricingServiceStub
from shared.proto.scraper_service_pb2 import CompetitorResult, ScrapeCompetitorPricesRequest
from shared.proto.scraper_service_pb2_grpc import ScraperServiceStub

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
COMPETITOR_TIMEOUT = 6.0

PRODUCT = """<html><head><meta property="og:type" content="product"><meta property="og:title" content="Kettle">
  <meta property="product:ean" content="2000000000060"><meta property="product:price:amount" content="40.00">
  <meta property="product:price:currency" content="USD"></head><body>x</body></html>"""


class Service:
    """A running example and what it has logged so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        assert process.stderr is not None
        self._reader = threading.Thread(target=self._read, args=(process.stderr,), daemon=True)
        self._reader.start()
        address = self.event(lambda event: event["action"] == "server_started")["address"]
        self.address = str(address)
        self.channel = grpc.insecure_channel(self.address)

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self.events.append(json.loads(line))

    def close(self) -> None:
        """End the process, and read what it has said until then, before its pipe is closed."""
        self.process.kill()
        self._reader.join()

    def event(self, matches: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        return wait_for(lambda: next((event for event in list(self.events) if matches(event)), None))

    def health(self, service: str = "") -> str:
        stub: Any = health_pb2_grpc.HealthStub(self.channel)  # whose types lack its methods
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def wait_for(look: Callable[[], T | None], seconds: float = 60) -> T:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"not seen within {seconds} s")


@contextmanager
def running(name: str, mongodb_url: str, **environment: str) -> Iterator[Service]:
    command = [sys.executable, "-m", f"examples.{name}_service"]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SCRAPER_")}
    env = {
        **inherited,
        "MONGODB_URL": mongodb_url,
        f"{name.upper()}_PORT": "0",
        "BIND_HOST": "127.0.0.1",
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "INFO",
        **environment,
    }
    with subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            service = Service(process)
            with closing(service), service.channel:
                yield service
        finally:
            process.kill()


@contextmanager
def http_server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def send(handler: BaseHTTPRequestHandler, body: str | bytes, status: int = 200) -> None:
    handler.send_response(status)
    handler.end_headers()
    handler.wfile.write(body.encode() if isinstance(body, str) else body)


def listing(*ids: str) -> str:
    return "".join(f'<a class="product" href="/p/{one}" data-product-id="{one}">{one}</a>' for one in ids)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class SlowShop:
    """Takes connections and answers none; knows when a caller has hung up."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.hung_up = threading.Event()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.set()
        handler.connection.settimeout(30)
        try:
            if handler.connection.recv(1) == b"":
                self.hung_up.set()
        except OSError:
            self.hung_up.set()


def answer_half(handler: BaseHTTPRequestHandler) -> None:
    """A listing of three pages: one good, one missing, one without a product."""
    if handler.path == "/":
        send(handler, listing("2000000000060", "gone", "empty"))
    elif handler.path == "/p/2000000000060":
        send(handler, PRODUCT)
    elif handler.path == "/p/gone":
        send(handler, "no", 404)
    else:
        send(handler, "<html><body>nothing to buy</body></html>")


@pytest.fixture(scope="module")
def database_url(mongodb_url: str) -> Iterator[str]:
    name = f"examples_{uuid.uuid4().hex[:8]}"
    yield urlsplit(mongodb_url)._replace(path=f"/{name}").geturl()
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        client.drop_database(name)


@pytest.fixture(scope="module")
def stored(database_url: str) -> Iterator[Any]:
    with MongoClient[dict[str, Any]](database_url, tz_aware=True) as client:
        yield client.get_default_database()["price_observations"]


@pytest.fixture(scope="module")
def slow_shop() -> SlowShop:
    return SlowShop()


@pytest.fixture(scope="module")
def scraper(database_url: str, slow_shop: SlowShop) -> Iterator[Service]:
    with (
        http_server(slow_shop.answer) as slow,
        http_server(lambda handler: send(handler, os.urandom(5000))) as garbage,
        http_server(answer_half) as half,
        running(
            "scraper",
            database_url,
            SCRAPER_COMPETITOR_SLOW_URL=slow,
            SCRAPER_COMPETITOR_GARBAGE_URL=garbage,
            SCRAPER_COMPETITOR_HALF_URL=half,
            SCRAPER_COMPETITOR_DOWN_URL=f"http://127.0.0.1:{closed_port()}/",
            SCRAPER_COMPETITOR_TIMEOUT_SECONDS=str(COMPETITOR_TIMEOUT),
        ) as service,
    ):
        yield service


@pytest.fixture(scope="module")
def pricing(database_url: str) -> Iterator[Service]:
    with running("pricing", database_url) as service:
        yield service


def scrape(service: Service, execution_id: str = "", timeout: float = 60, **fields: Any) -> Any:
    metadata = (("x-execution-id", execution_id),) if execution_id else ()
    stub = ScraperServiceStub(service.channel)
    return stub.ScrapeCompetitorPrices(ScrapeCompetitorPricesRequest(**fields), metadata=metadata, timeout=timeout)


def test_the_shops_are_scraped_into_observations(scraper: Service, stored: Any) -> None:
    response = scrape(scraper, "e-all", competitor_ids=["amazon", "walmart", "target"])
    assert response.observation_count == 24
    assert (response.already_stored_count, response.failed_page_count) == (0, 0)
    assert not response.incomplete_competitor_ids
    assert [one.competitor_id for one in response.competitors] == ["amazon", "target", "walmart"]
    assert {one.outcome for one in response.competitors} == {CompetitorResult.OUTCOME_COMPLETE}

    rows = list(stored.find({"execution_id": "e-all"}))
    assert len(rows) == 24
    assert len({row["product_id"] for row in rows}) == 8
    for row in rows:
        assert isinstance(row["price"], Decimal128)
        assert row["price"].to_decimal() > 0
        assert row["currency"] == "USD"
        assert row["availability"] in {"IN_STOCK", "OUT_OF_STOCK"}
        assert abs(row["observed_at"] - response.observed_at.ToDatetime(UTC)) < timedelta(milliseconds=1)


def test_the_observations_have_their_index(scraper: Service, stored: Any) -> None:
    assert scraper.health() == "SERVING"
    assert [("observed_at", 1), ("competitor_id", 1)] in [index["key"] for index in stored.index_information().values()]


def test_top_products_ids_and_a_limit_narrow_it_down(scraper: Service) -> None:
    assert scrape(scraper, competitor_ids=["amazon"], top_products_only=True).observation_count == 3
    assert scrape(scraper, competitor_ids=["amazon"], max_products=2).observation_count == 2
    response = scrape(scraper, competitor_ids=["amazon"], product_ids=["2000000000077", "unknown"])
    assert response.observation_count == 1
    assert list(response.unlisted_product_ids) == ["unknown"]


def test_a_second_attempt_of_an_execution_stores_only_what_is_missing(scraper: Service, stored: Any) -> None:
    scrape(scraper, "e-twice", competitor_ids=["amazon"], max_products=3)
    before = list(stored.find({"execution_id": "e-twice"}))
    response = scrape(scraper, "e-twice", competitor_ids=["amazon"], max_products=5)
    assert (response.observation_count, response.already_stored_count) == (5, 3)
    assert stored.count_documents({"execution_id": "e-twice"}) == 5
    assert all(stored.find_one({"_id": row["_id"]}) == row for row in before)


def test_two_attempts_at_the_same_time_store_nothing_twice(scraper: Service, stored: Any) -> None:
    stub = ScraperServiceStub(scraper.channel)
    request = ScrapeCompetitorPricesRequest(competitor_ids=["target"])
    calls = [stub.ScrapeCompetitorPrices.future(request, metadata=(("x-execution-id", "e-race"),)) for _ in range(5)]
    responses = [call.result(timeout=60) for call in calls]
    assert stored.count_documents({"execution_id": "e-race"}) == 8
    assert sum(one.observation_count - one.already_stored_count for one in responses) == 8


def test_what_fails_is_named_and_the_rest_is_stored(scraper: Service, stored: Any) -> None:
    response = scrape(scraper, "e-partial")
    results = {one.competitor_id: one for one in response.competitors}
    assert list(response.incomplete_competitor_ids) == ["down", "garbage", "half", "slow"]
    assert response.observation_count == 25
    assert stored.count_documents({"execution_id": "e-partial"}) == 25

    for name, problem in [("down", "connect"), ("garbage", "links no products"), ("slow", "within 6 s")]:
        assert results[name].outcome == CompetitorResult.OUTCOME_FAILED
        assert problem in results[name].error
    assert results["half"].outcome == CompetitorResult.OUTCOME_PARTIAL
    assert results["half"].observation_count == 1
    reasons = {urlsplit(one.url).path: one.reason for one in results["half"].page_failures}
    assert reasons["/p/gone"] == "HTTP 404 Not Found"
    assert "no product" in reasons["/p/empty"]


def test_a_slow_competitor_leaves_time_for_the_answer_before_the_callers_deadline(scraper: Service) -> None:
    response = scrape(scraper, competitor_ids=["slow", "amazon"], timeout=COMPETITOR_TIMEOUT / 2)
    assert list(response.incomplete_competitor_ids) == ["slow"]
    assert response.observation_count == 8


def test_all_competitors_down_is_unavailable_with_the_reasons(scraper: Service) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        scrape(scraper, competitor_ids=["down", "garbage"])
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "down: http://127.0.0.1:" in (caught.value.details() or "")
    assert "garbage: " in (caught.value.details() or "")


def test_bad_requests_are_refused_with_all_that_is_wrong(scraper: Service) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        scrape(scraper, competitor_ids=["ebay"], max_products=-1)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "'ebay' not known; known are amazon," in (caught.value.details() or "")
    assert "max_products: -1" in (caught.value.details() or "")


def test_a_cancelled_call_cancels_its_fetches(scraper: Service, slow_shop: SlowShop) -> None:
    slow_shop.asked.clear()
    slow_shop.hung_up.clear()
    started = time.monotonic()
    call = ScraperServiceStub(scraper.channel).ScrapeCompetitorPrices.future(
        ScrapeCompetitorPricesRequest(competitor_ids=["slow"])
    )
    assert slow_shop.asked.wait(60)
    call.cancel()
    assert slow_shop.hung_up.wait(60)
    assert time.monotonic() - started < COMPETITOR_TIMEOUT


def test_every_line_of_a_call_has_the_schedulers_ids(scraper: Service) -> None:
    metadata = (
        ("x-execution-id", "e-log"),
        ("x-job-id", "job-1"),
        ("x-attempt", "3"),
        ("traceparent", f"00-{TRACE_ID}-00f067aa0ba902b7-01"),
    )
    ScraperServiceStub(scraper.channel).ScrapeCompetitorPrices(
        ScrapeCompetitorPricesRequest(competitor_ids=["amazon"]), metadata=metadata, timeout=60
    )
    scraper.event(lambda event: event["action"] == "call_ended" and event.get("execution_id") == "e-log")
    lines = [event for event in scraper.events if event.get("execution_id") == "e-log"]
    assert {line["action"] for line in lines} == {
        "call_started",
        "competitor_scraped",
        "observations_stored",
        "call_ended",
    }
    assert {(line["job_id"], line["attempt"], line["trace_id"]) for line in lines} == {("job-1", "3", TRACE_ID)}


@pytest.mark.parametrize(
    ("fixture", "full_name"), [("scraper", "scraper.v1.ScraperService"), ("pricing", "pricing.v1.PricingService")]
)
def test_both_are_health_checked_and_reflected(fixture: str, full_name: str, request: pytest.FixtureRequest) -> None:
    service: Service = request.getfixturevalue(fixture)
    wait_for(lambda: service.health() == "SERVING")
    assert service.health(full_name) == "SERVING"
    ask = reflection_pb2.ServerReflectionRequest(file_containing_symbol=full_name)
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(service.channel)
    (answer,) = stub.ServerReflectionInfo(iter([ask]))
    assert answer.file_descriptor_response.file_descriptor_proto


def observe(stored: Any, competitor: str, product: str, price: str, *, days_ago: float, currency: str = "USD") -> None:
    stored.insert_one(
        {
            "_id": uuid.uuid4().hex,
            "execution_id": "seed",
            "competitor_id": competitor,
            "product_id": product,
            "name": "Lamp",
            "price": Decimal128(price),
            "currency": currency,
            "availability": "IN_STOCK",
            "url": "http://shop.example/lamp",
            "observed_at": datetime.now(UTC) - timedelta(days=days_ago),
        }
    )


def analyse(pricing: Service, **fields: Any) -> Any:
    stub = PricingServiceStub(pricing.channel)
    return stub.ComprehensivePriceAnalysis(ComprehensivePriceAnalysisRequest(**fields), timeout=60)


def test_the_analysis_tells_spread_cheapest_change_and_outliers(pricing: Service, stored: Any) -> None:
    for days_ago, price in [(0.1, "105.00"), (6, "103.00"), (8, "100.00"), (9, "90.00"), (40, "1.00")]:
        observe(stored, "lamps-a", "lamp", price, days_ago=days_ago)
    for days_ago, price in [(0.1, "99.50"), (1, "9950.00"), (2, "99.00")]:
        observe(stored, "lamps-b", "lamp", price, days_ago=days_ago)
    observe(stored, "lamps-b", "lamp", "80.00", days_ago=0.1, currency="EUR")

    response = analyse(pricing, competitor_ids=["lamps-a", "lamps-b", "nobody"])
    assert (response.observation_count, response.product_count, response.outlier_count) == (8, 2, 1)
    assert list(response.competitor_ids_without_observations) == ["nobody"]
    euro, dollar = response.products
    assert (euro.currency, euro.cheapest.price, euro.HasField("spread")) == ("EUR", "80.00", False)
    assert (dollar.product_id, dollar.name, dollar.currency) == ("lamp", "Lamp", "USD")
    assert (dollar.cheapest.competitor_id, dollar.cheapest.price) == ("lamps-b", "99.50")
    assert (dollar.spread.amount, dollar.spread.percent) == ("5.50", "5.53")
    first, second = dollar.latest_prices
    change = first.change_since_last_week
    assert (change.previous_price, change.amount, change.percent) == ("100.00", "5.00", "5.00")
    assert not second.HasField("change_since_last_week")
    assert [(one.competitor_id, one.price) for one in dollar.outliers] == [("lamps-b", "9950.00")]


def test_since_narrows_the_window_but_not_the_comparison(pricing: Service, stored: Any) -> None:
    observe(stored, "lamps-c", "lamp", "10.00", days_ago=10)
    observe(stored, "lamps-c", "lamp", "12.00", days_ago=0.1)
    request = ComprehensivePriceAnalysisRequest(competitor_ids=["lamps-c"])
    request.since.FromDatetime(datetime.now(UTC) - timedelta(days=1))
    response = PricingServiceStub(pricing.channel).ComprehensivePriceAnalysis(request, timeout=60)
    assert response.observation_count == 1
    assert response.products[0].latest_prices[0].change_since_last_week.percent == "20.00"


def test_what_was_scraped_can_be_analysed(scraper: Service, pricing: Service) -> None:
    scrape(scraper, "e-analyse", competitor_ids=["amazon", "walmart", "target"])
    response = analyse(pricing, competitor_ids=["amazon", "walmart", "target"])
    assert response.product_count == 8
    assert all(Decimal(product.spread.amount) >= 0 for product in response.products if product.HasField("spread"))


def test_since_in_the_future_is_refused(pricing: Service) -> None:
    request = ComprehensivePriceAnalysisRequest()
    request.since.FromDatetime(datetime.now(UTC) + timedelta(days=1))
    with pytest.raises(grpc.RpcError) as caught:
        PricingServiceStub(pricing.channel).ComprehensivePriceAnalysis(request, timeout=60)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (caught.value.details() or "").startswith("since: ")


def test_without_mongodb_both_are_not_serving_and_unavailable() -> None:
    nowhere = f"mongodb://127.0.0.1:{closed_port()}/none"
    with running("scraper", nowhere) as scraper, running("pricing", nowhere) as pricing:
        calls: list[tuple[Service, Callable[[Service], Any]]] = [(scraper, scrape), (pricing, analyse)]
        for service, call in calls:
            service.event(lambda event: event["action"] == "health_changed" and not event["healthy"])
            assert service.health() == "NOT_SERVING"
            with pytest.raises(grpc.RpcError) as caught:
                call(service)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert caught.value.details() == "MongoDB does not answer; try again later"


def test_as_long_as_mongodb_has_not_answered_none_is_healthy(database_url: str) -> None:
    name = urlsplit(database_url).path
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        running("pricing", f"mongodb://127.0.0.1:{silent.getsockname()[1]}{name}") as service,
    ):
        assert [service.health(), service.health("pricing.v1.PricingService")] == ["NOT_SERVING"] * 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_calls_in_flight_as_retryable_within_seconds(database_url: str, number: signal.Signals) -> None:
    shop = SlowShop()
    with (
        http_server(shop.answer) as slow,
        running("scraper", database_url, SCRAPER_COMPETITOR_SLOW_URL=slow) as service,
    ):
        call = ScraperServiceStub(service.channel).ScrapeCompetitorPrices.future(
            ScrapeCompetitorPricesRequest(competitor_ids=["slow"])
        )
        assert shop.asked.wait(60)
        service.process.send_signal(number)
        assert service.process.wait(30) == 0, "the shop has a minute"
        assert call.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("name", ["scraper", "pricing"])
def test_a_taken_port_is_one_sentence_and_exit_code_1(name: str, database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = {**os.environ, f"{name.upper()}_PORT": str(port), "MONGODB_URL": database_url}
        command = [sys.executable, "-m", f"examples.{name}_service"]
        ended = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_wrong_setting_is_one_sentence_without_its_value() -> None:
    environment = {**os.environ, "MONGODB_URL": "postgres://user:hunter2@host/db"}
    command = [sys.executable, "-m", "examples.pricing_service"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("MONGODB_URL: expected mongodb://")
    assert "hunter2" not in ended.stderr
