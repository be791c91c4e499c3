"""Explore a model at a size of one's own; see --help."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from time import monotonic
from typing import Any

from tests.model import filling, firing, parts, running
from tests.model.explore import explore

MODELS: dict[str, Any] = {"firing": firing, "running": running, "parts": parts, "filling": filling}


def main(arguments: list[str]) -> int:
    parser = ArgumentParser(prog="python -m tests.model", description="Look at every state that a protocol can reach.")
    commands = parser.add_subparsers(dest="model", required=True)
    for name, module in MODELS.items():
        command = commands.add_parser(name, help=module.__doc__.partition("\n")[0], description=module.__doc__)
        defaults = module.Size._field_defaults
        for field in module.Size._fields:
            default = defaults.get(field, 3)
            if field == "broken":
                said = "a rule to switch off, at the size where it is missed unless another is given: "
                command.add_argument("--without", choices=list(module.RULES), help=said + ", ".join(module.RULES))
            elif isinstance(default, tuple):
                command.add_argument(f"--{field.replace('_', '-')}", nargs="+", help=f"default: {' '.join(default)}")
            else:
                command.add_argument(f"--{field}", type=type(default), help=f"default: {default!r}")
    given = vars(parser.parse_args(arguments))
    module, without = MODELS[given.pop("model")], given.pop("without")
    size = module.RULES[without].missed_at if without else module.Size(3) if "ends" in given else module.Size()
    changes = {field: tuple(v) if isinstance(v, list) else v for field, v in given.items() if v is not None}
    size = size._replace(broken=without or "", **changes)
    print(f"without: {module.RULES[without].says}" if without else "all rules hold", size, sep="\n", flush=True)
    began = monotonic()
    explored = explore(module.MODEL(size))
    print(explored, f"{monotonic() - began:.1f} s", sep="\n")
    return bool(explored.wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
