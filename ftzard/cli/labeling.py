"""Commands for the rows that wait for labels."""

from typing import Annotated

import typer

from ftzard.cli.arguments import InWorkspace
from ftzard.cli.printing import say

app = typer.Typer(rich_markup_mode=None)


@app.command()
def label(
    batch: Annotated[str | None, typer.Argument(
        help="A batch in data/labelling, or how it begins; default: the newest.")] = None,
    person: Annotated[str | None, typer.Option("--as", help="Who labels; default: you.")] = None,
    twice: Annotated[bool, typer.Option(
        "--twice", help="Also rows that others have labelled, to see whether you agree.")] = False,
    workspace: InWorkspace = None,
) -> None:
    """Label the rows that wait. One text at a time, with a key per label or in your own words."""
    import getpass

    from ftzard.cli import labeling_screen
    from ftzard.steps.labeling_session import open_session
    from ftzard.workspace.workspace import find

    labeling_screen.run(
        open_session(find(workspace), batch, person or getpass.getuser(), twice=twice), say)
