from pathlib import Path

import pytest

from shared.settings import load_settings
from shared.targets.registry import RegistryError, Target, plain_address, read_registry
from shared.targets.targets import load_targets

VARIABLES = {"SHOP_URL": "shop.example:50051", "EMPTY": ""}


def registry(folder: Path, text: str) -> dict[str, Target]:
    file = folder / "targets.yaml"
    file.write_text(text)
    return read_registry(file, VARIABLES)


def test_names_addresses_and_services_are_read(tmp_path: Path) -> None:
    read = registry(
        tmp_path,
        """
        targets:
          shop: {address: "${SHOP_URL}", services: [shop.v1.Shop, shop.v1.Stock]}
          bank: {address: "${BANK_URL:-bank.example:1}"}
          post: {address: "${EMPTY:-localhost}:${EMPTY:-7}"}
        """,
    )
    assert read == {
        "shop": Target("shop", "shop.example:50051", ("shop.v1.Shop", "shop.v1.Stock")),
        "bank": Target("bank", "bank.example:1"),
        "post": Target("post", "localhost:7"),
    }


def test_everything_wrong_is_told_at_once_with_file_and_entry(tmp_path: Path) -> None:
    with pytest.raises(RegistryError) as refused:
        registry(
            tmp_path,
            """
            colour: red
            targets:
              a: {address: "${NOWHERE}"}
              b: {address: "shop.example"}
              c: {address: "localhost:1", services: shop.v1.Shop, timeout: 3}
              d: {services: ["shop v1"]}
              e: localhost:1
              5: {address: "localhost:1"}
              f: {address: "https://user:secret@shop.example:1"}
            """,
        )
    problems = refused.value.problems
    assert [problem.partition(": ")[0] for problem in problems] == [
        "colour",
        "targets.a.address",
        "targets.b.address",
        "targets.c.timeout",
        "targets.c.services",
        "targets.d.address",
        "targets.d.services",
        "targets.e",
        "targets.5",
        "targets.f.address",
    ]
    assert "NOWHERE is not set in the environment" in problems[1]
    assert "'shop.example' is not host:port" in problems[2]
    assert "TLS, which is not supported" in problems[-1]
    assert "secret" not in str(refused.value)
    assert str(refused.value).count(str(tmp_path / "targets.yaml")) == len(problems)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("targets: {a: {address: 'h:1'}, a: {address: 'h:2'}}", "'a' is there twice"),
        ("targets: [", "it is not YAML"),
        ("", "expected an object with at least one target"),
        ("targets: {}", "expected an object with at least one target"),
        ("- a", "expected an object with at least one target"),
    ],
)
def test_a_file_that_is_no_registry_is_told_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(RegistryError, match=sentence):
        registry(tmp_path, text)


def test_a_missing_file_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="it can't be read"):
        read_registry(tmp_path / "none.yaml", {})


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("shop.example:50051", "shop.example:50051"),
        ("grpc://shop.example:50051", "shop.example:50051"),
        ("http://shop.example:50051/", "shop.example:50051"),
        ("dns:///shop.example:50051", "shop.example:50051"),
        ("[::1]:50051", "[::1]:50051"),
        ("unix:/run/shop.sock", "unix:/run/shop.sock"),
    ],
)
def test_an_address_may_be_written_with_a_scheme(written: str, plain: str) -> None:
    assert plain_address(written) == plain


@pytest.mark.parametrize(
    "written",
    [
        "shop",
        "shop:0",
        "shop:65536",
        "shop:http",
        ":1",
        "http://shop:1/path",
        "a b:1",
        "http://u:p@shop:1",
        "ftp://shop:1",
        "::1:5",
    ],
)
def test_what_is_no_address_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        plain_address(written)


def test_the_targets_of_this_repository_take_their_addresses_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRAPER_SERVICE_URL", "http://scraper.example:1")
    monkeypatch.setenv("GRPC_PORT", "5")
    monkeypatch.delenv("SCHEDULER_SERVICE_URL", raising=False)
    targets = load_targets(load_settings())
    assert targets.names == ("pricing-service", "scheduler-service", "scraper-service")
    assert targets.address("scraper-service") == "scraper.example:1"
    assert targets.address("scheduler-service") == "localhost:5"
