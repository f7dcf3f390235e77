"""Commands for the rows that wait for labels."""

from typing import TYPE_CHECKING, Annotated

import typer

from ftzard.cli.arguments import InWorkspace
from ftzard.cli.printing import say
from ftzard.errors import FtzardError

if TYPE_CHECKING:
    from ftzard.workspace.workspace import Workspace

app = typer.Typer(rich_markup_mode=None)
LOCAL = "127.0.0.1"
#: Labels in doubt that a queue has at most.
MOST = 200


@app.command()
def label(
    batch: Annotated[str | None, typer.Argument(
        help="A batch in data/labelling, or how it begins; default: the newest.")] = None,
    person: Annotated[str | None, typer.Option("--as", help="Who labels; default: you.")] = None,
    twice: Annotated[bool, typer.Option(
        "--twice", help="Also rows that others have labelled, to see whether you agree.")] = False,
    suspects: Annotated[bool, typer.Option(
        "--suspects", help="Review labels that are probably wrong, of all sides, blind: the most "
                           "doubtful first, without the label that they have.")] = False,
    most: Annotated[int | None, typer.Option(
        min=1, help="With --suspects: rows of a new queue; default: 200.")] = None,
    web: Annotated[bool, typer.Option(
        "--web", help="Serve a page instead, for one person or several, until Ctrl-C.")] = False,
    host: Annotated[str, typer.Option(
        help="With --web: address to listen on; others than this machine's own ask for the login "
             "of the team's MLflow server.")] = LOCAL,
    port: Annotated[int | None, typer.Option(
        help="With --web: port; default: 8765, or the next that is free.")] = None,
    name: Annotated[list[str] | None, typer.Option(
        help="With --web: a further name under which browsers ask for the page, such as that of a "
             "proxy; may be given several times.")] = None,
    label_studio: Annotated[str | None, typer.Option(
        metavar="URL", help="Send the rows to a Label Studio server instead, and fetch the labels "
                            "that are finished there; its token is LABEL_STUDIO_API_KEY.")] = None,
    workspace: InWorkspace = None,
) -> None:
    """Label the rows that wait. In the terminal, on a page of the browser, or in Label Studio."""
    from ftzard.workspace.workspace import find

    place = find(workspace)
    if label_studio is not None:
        for option, value in {"--as": person, "--twice": twice, "--web": web, "--port": port,
                              "--host": host != LOCAL, "--name": name}.items():
            if value:
                raise FtzardError(f"{option} has no effect with --label-studio, where people "
                                  "label under their own names.")
        _exchange(place, label_studio, batch)
        return
    _refuse_without_effect(web, {"BATCH": batch, "--as": person, "--twice": twice},
                           {"--host": host != LOCAL, "--port": port, "--name": name})
    if suspects:
        batch = _in_doubt(place, batch, most)
    elif most is not None:
        raise FtzardError("--most is for the queue of --suspects; add that.")
    if web:
        _serve(place, host, port, name or [])
        return
    import getpass

    from ftzard.cli import labeling_screen
    from ftzard.steps.labeling_session import open_session

    labeling_screen.run(
        open_session(place, batch, person or getpass.getuser(), twice=twice), say)


def _in_doubt(place: "Workspace", batch: str | None, most: int | None) -> str:
    """Return the queue of labels in doubt; it is said how many wait."""
    from ftzard.steps import label_doubt

    if batch is not None:
        raise FtzardError(f"{batch} has no effect with --suspects: labels of all batches are "
                          "searched.")
    name, waiting = label_doubt.ask(place, most or MOST)
    say(f"{waiting:,} labels in doubt wait for a review: data/labelling/{name}.csv")
    return name


def _refuse_without_effect(web: bool, terminal: dict[str, object], page: dict[str, object]) -> None:
    """Raise FtzardError for an option that the page, or the terminal, does not look at."""
    for name, value in (terminal if web else page).items():
        if value:
            raise FtzardError(
                f"{name} has no effect with --web: the page asks who labels, and which batch."
                if web else f"{name} is for the page; add --web.")


def _serve(place: "Workspace", host: str, port: int | None, names: list[str]) -> None:
    from ftzard.orchestration.labeling_page import server

    port = server.port_for(host, port)
    page = server.page_for(place, host, names)
    shown = f"[{host}]" if ":" in host else host
    say(f"labeling page of {place.root}: http://{shown}:{port}/")
    say("Ctrl-C ends it; every answer is saved when it is given")
    server.serve(page, host, port)


def _exchange(place: "Workspace", url: str, batch: str | None) -> None:
    from ftzard.steps.label_studio_project import exchange

    done = exchange(place, url, batch)
    say(f"project: {done.project}{' (new)' if done.created else ''}")
    if done.changed:
        say(f"set anew: {' and '.join(done.changed)}")
    say(f"tasks: {done.added:,} added, {done.tasks:,} there")
    if done.file is None:
        say("labels: none that is new")
    else:
        say(f"labels: {done.labels:,} fetched into {place.relative(done.file)}")
