"""Arguments and options of several commands, and confirmations."""

from pathlib import Path
from typing import Annotated

import typer

from ftzard.cli.printing import say


def path_named(text: str | Path) -> Path:
    """Return the path of an argument; an empty one is refused, since it would mean the current
    folder.
    """
    if not str(text).strip():
        raise typer.BadParameter("it is empty; expected a path ('.' is the current folder).")
    return Path(text)


#: What every argument that is a path is read with.
A_PATH = {"parser": path_named, "metavar": "<path>"}
InWorkspace = Annotated[Path | None, typer.Option(
    "-w", "--workspace", **A_PATH,
    help="The workspace; default: FTZARD_WORKSPACE, else the current folder, upwards.")]


AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


Which = Annotated[str, typer.Argument(
    help="champion, challenger, previous, base or NAME@VERSION.")]


def confirmed(question: str) -> bool:
    """Ask for confirmation; no answer means no."""
    try:
        return typer.confirm(question)
    except typer.Abort:
        say("")
        return False
