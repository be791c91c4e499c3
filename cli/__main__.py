"""`schedctl`, or `python -m cli`.

Exit codes: 0 all is well; 1 the audit found something wrong; 2 the command could not be carried out, or not wholly;
130 interrupted.
"""

from __future__ import annotations

import typer

from cli.audit import audit
from cli.dead_letters import app as dead_letters

app = typer.Typer(
    name="schedctl",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # an error is a sentence, not a box
)
app.command()(audit)
app.add_typer(dead_letters, name="dead-letters")


@app.callback()
def _schedctl() -> None:
    """Ask the scheduler what operators want to know."""


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    app(prog_name="schedctl")


if __name__ == "__main__":
    main()
