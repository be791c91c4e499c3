"""Write the Python stubs of `protos/` to `shared/proto/`, or check that those there are fresh.

`python -m dev.proto` writes, `python -m dev.proto --check` compares and names each file that is stale.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
STUBS = Path("shared") / "proto"
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")

_IMPORT = re.compile(r'^(\s*import\s+(?:public\s+|weak\s+)?")([^"]+)(")', re.MULTILINE)


class ProtocError(Exception):
    """The protos do not compile; the message is what protoc said."""


def generate(out: Path) -> None:
    """Write the stubs of all protos below `out`, as `shared/proto/...`.

    In `protos/` files import each other by bare name, as buf and other languages expect; Python's generated
    imports follow the name of the file. So protoc is given copies that lie, and import each other, under
    `shared/proto`: then the stubs say `from shared.proto import x_pb2`.

    Raises ProtocError when protoc refuses.
    """
    sources = sorted(PROTOS.glob("*.proto"))
    if not sources:
        raise ProtocError(f"{PROTOS.name}/ holds no .proto file")
    ours = {source.name for source in sources}

    def qualified(match: re.Match[str]) -> str:
        name = f"{STUBS.as_posix()}/{match[2]}" if match[2] in ours else match[2]
        return f"{match[1]}{name}{match[3]}"

    with tempfile.TemporaryDirectory() as folder:
        copies = Path(folder) / STUBS
        copies.mkdir(parents=True)
        for source in sources:
            text = _IMPORT.sub(qualified, source.read_text(encoding="utf-8"))
            (copies / source.name).write_text(text, encoding="utf-8")
        (out / STUBS).mkdir(parents=True, exist_ok=True)
        well_known = str(resources.files("grpc_tools") / "_proto")
        google_rpc = str(Path(well_known).parent.parent)  # googleapis-common-protos puts its protos next to its code
        answer = subprocess.run(
            [
                sys.executable,
                "-m",
                "grpc_tools.protoc",
                f"--proto_path={folder}",
                f"--proto_path={well_known}",
                f"--proto_path={google_rpc}",
                f"--plugin=protoc-gen-mypy_grpc={Path(sys.executable).parent / 'protoc-gen-mypy_grpc'}",
                f"--python_out={out}",
                f"--pyi_out={out}",
                f"--grpc_python_out={out}",
                f"--mypy_grpc_out=quiet:{out}",
                *(f"{STUBS.as_posix()}/{source.name}" for source in sources),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode:
            said = (answer.stderr or answer.stdout).strip()
            raise ProtocError(said.replace(f"{folder}/", "").replace(f"{STUBS.as_posix()}/", f"{PROTOS.name}/"))


def stale_files() -> list[str]:
    """Return the names of committed stubs that differ from what the protos give, are missing, or have no proto."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh, committed = _read(Path(folder) / STUBS), _read(ROOT / STUBS)
    names = sorted(fresh.keys() | committed.keys())
    return [f"{STUBS.as_posix()}/{name}" for name in names if fresh.get(name) != committed.get(name)]


def write() -> list[str]:
    """Bring the committed stubs up to date and return the names of those that changed."""
    changed = stale_files()
    for name in changed:
        (ROOT / name).unlink(missing_ok=True)
    generate(ROOT)
    return changed


def _read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for pattern in GENERATED for path in folder.glob(pattern)}


def main() -> int:
    """Run the command line; 0 when the stubs are fresh, 1 when some are stale or protoc refuses."""
    parser = argparse.ArgumentParser(prog="python -m dev.proto", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is stale")
    arguments = parser.parse_args()
    try:
        names = stale_files() if arguments.check else write()
    except ProtocError as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.check and names:
        print(f"stale: {', '.join(names)}. Run `make proto` and commit the result.", file=sys.stderr)
        return 1
    if not arguments.check:
        print("\n".join(f"wrote {name}" for name in names) or "all stubs are fresh")
    return 0


if __name__ == "__main__":
    sys.exit(main())
