"""Commands that serve until Ctrl-C: Dagster and MLflow, a team's MLflow, JupyterLab."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from ftzard.cli.arguments import A_PATH, InWorkspace
from ftzard.cli.printing import say
from ftzard.errors import FtzardError

app = typer.Typer(rich_markup_mode=None)


@app.command()
def ui(
    workspace: InWorkspace = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(
        help="Port of Dagster; default: the one before, at first 3000, or the next that is free.")
    ] = None,
    mlflow_port: Annotated[int | None, typer.Option(
        help="Port of MLflow; default: the one before, at first 5000, or the next that is free.")
    ] = None,
    only: Annotated[str | None, typer.Option(help="dagster or mlflow.")] = None,
) -> None:
    """Serve Dagster with its sensors, and MLflow. On this workspace, until Ctrl-C."""
    from ftzard.orchestration import services
    from ftzard.workspace import addresses
    from ftzard.workspace.workspace import find

    place = find(workspace)
    commands, served = {}, {}
    if only not in (None, "dagster", "mlflow"):
        raise FtzardError(f"--only is '{only}'; expected dagster or mlflow.")
    if only != "mlflow":
        port = services.port_for(place, addresses.DAGSTER, host, port)
        commands["daemon"] = services.daemon(place)
        commands["webserver"] = services.webserver(place, host, port)
        served[addresses.DAGSTER] = (host, port)
    elsewhere = place.config().tracking.server
    if only != "dagster" and elsewhere is not None:
        say(f"MLflow   {elsewhere}/#/experiments?{addresses.TRAINING_SIDE} (tracking.uri); it is "
            "not started here")
    elif only != "dagster":
        mlflow_port = services.port_for(place, addresses.MLFLOW, host, mlflow_port)
        commands["mlflow"] = services.mlflow(place, host, mlflow_port)
        served[addresses.MLFLOW] = (host, mlflow_port)
    if not commands:
        return
    addresses.remember(place, served)  # before a run begins, whose links lead there
    names = {addresses.DAGSTER: "Dagster", addresses.MLFLOW: "MLflow"}
    pages = {names[page]: address for page, address in served.items()}
    say(f"starting {' and '.join(pages)} for {place.root}; a first start takes up to a minute")
    for name, address in pages.items():
        say(f"{name:<8} will be at {addresses.url(*address)}")
    began = time.monotonic()
    with services.serving(place, commands) as started:
        for name in as_they_answer(pages, started):
            say(f"✓ {name:<8} {addresses.url(*pages[name])} is ready after "
                f"{time.monotonic() - began:.0f} s")
        say("sensors watch data/incoming, data/raw_incoming and data/labelled; Ctrl-C ends it all"
            if "daemon" in started else "Ctrl-C ends it")
        until_interrupted(started)


def as_they_answer(addresses: Mapping[str, tuple[str, int]], started: Mapping, seconds: float = 120
                   ) -> Iterator[str]:
    """Yield the names of servers as each begins to answer.

    Raises WorkspaceError, as `services.wait_for_answer` does, for one that ends or takes too long.
    """
    from ftzard.orchestration import services

    waiting, deadline = dict(addresses), time.monotonic() + seconds
    while waiting:
        ready = [name for name, address in waiting.items() if services.answers(*address)]
        for name in ready:
            del waiting[name]
            yield name
        if waiting and not ready:
            for name, address in waiting.items():
                process = started["webserver" if name == "Dagster" else "mlflow"]
                if process.poll() is not None or time.monotonic() > deadline:
                    services.wait_for_answer(*address, name, process, seconds=0)
            time.sleep(0.2)


def until_interrupted(processes, logs: str | Path = ".ftzard/logs") -> None:
    """Wait for Ctrl-C; raises FtzardError if a server ends by itself."""
    while True:
        for name, process in processes.items():
            if process.poll() is not None:
                raise FtzardError(f"{name} ended with code {process.returncode}; see its log in "
                                  f"{logs}.")
        time.sleep(0.5)


@app.command("mlflow-server")
def mlflow_server(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port.")] = 5000,
    backend: Annotated[str | None, typer.Option(
        help="Its database, as postgresql://USER@HOST/DATABASE (password: PGPASSWORD) or "
             "mysql+pymysql://USER@HOST/DATABASE (MYSQL_PWD); default: SQLite in the folder.")
    ] = None,
    artifacts: Annotated[str | None, typer.Option(
        help="Where the files of runs go: a folder, or s3://BUCKET/FOLDER (AWS_ACCESS_KEY_ID and "
             "the like); default: in the folder below.")] = None,
    folder: Annotated[Path, typer.Option(
        "--dir", help="Folder of all its files.", **A_PATH)] = Path("mlflow-server"),
) -> None:
    """Serve MLflow to a team, with logins. Until Ctrl-C; everyone sees only what is theirs."""
    from ftzard.core import credentials
    from ftzard.orchestration import mlflow_server as team_server
    from ftzard.orchestration import services

    credentials.load_for_server(Path.cwd())
    plan = team_server.plan(folder, host=host, port=services.free_port(host, port),
                            backend=backend, artifacts=artifacts)
    with team_server.serving(plan) as started:
        say(f"MLflow   {plan.uri}, its files in {plan.folder}")
        say("users    ftzard mlflow-user add NAME; Ctrl-C ends the server")
        until_interrupted(started, plan.folder)


@app.command()
def lab(
    workspace: InWorkspace = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of Jupyter.")] = 8888,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Open JupyterLab on the workspace's notebooks until Ctrl-C."""
    from ftzard.orchestration import services
    from ftzard.workspace import notebook_copies
    from ftzard.workspace.workspace import find

    place = find(workspace)
    written, outdated = notebook_copies.update(place)
    for line in (*(f"{path} is this release's now" for path in written), *map(str, outdated)):
        say(line)
    command = services.jupyter(place, host, services.free_port(host, port), browser)
    with services.serving(place, {"jupyter": command}, logs=False) as started:
        until_interrupted(started)
