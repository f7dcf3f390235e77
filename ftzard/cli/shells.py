"""The command that prints the script with which a shell completes all others."""

from typing import Annotated

import typer

from ftzard.cli import completion as completing
from ftzard.cli.printing import complain, say_data
from ftzard.errors import FtzardError, nearest

app = typer.Typer(rich_markup_mode=None)


@app.command()
def completion(
    shell: Annotated[str, typer.Argument(help="bash, zsh or fish.")],
) -> None:
    """Print the script for completion. Of commands, options, models, config keys, in a shell."""
    import sys

    if shell not in completing.SCRIPTS:
        raise FtzardError(f"there is no completion for '{shell}'"
                          f"{nearest(shell, completing.SCRIPTS)}")
    say_data(completing.SCRIPTS[shell].rstrip("\n"))
    if sys.stdout.isatty():
        complain(f"in every new shell: {completing.INSTALL[shell]}")
