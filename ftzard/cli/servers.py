"""Commands that serve until Ctrl-C: Dagster and MLflow, a team's MLflow, JupyterLab."""

import time
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
    from ftzard.running import addresses, services
    from ftzard.workspace import find

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
    with services.serving(place, commands) as started:
        for page, (where, number) in served.items():
            name, process = (("Dagster", "webserver") if page == addresses.DAGSTER
                             else ("MLflow", "mlflow"))
            services.wait_for_answer(where, number, name, started[process])
            say(f"{name:<8} {addresses.url(where, number)}")
        say("sensors watch data/incoming, data/raw_incoming and data/labelled; Ctrl-C ends it all"
            if "daemon" in started else "Ctrl-C ends it")
        until_interrupted(started)


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
    from ftzard import credentials
    from ftzard.running import services
    from ftzard.team import server as team_server

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
    from ftzard.running import services
    from ftzard.workspace import find

    place = find(workspace)
    command = services.jupyter(place, host, services.free_port(host, port), browser)
    with services.serving(place, {"jupyter": command}, logs=False) as started:
        until_interrupted(started)
