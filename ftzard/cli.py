"""The command line: parses, calls, prints. What it does stands in the modules it calls."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table

from ftzard import launch
from ftzard.errors import FtzardError
from ftzard.steps import JOBS, job_named

os.environ.update({k: v for k, v in launch.QUIET.items() if k not in os.environ})
app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None,
                  pretty_exceptions_enable=False,
                  help="Continual fine-tuning of language models, never silently wrong.")
out = Console(highlight=False, soft_wrap=True)

InWorkspace = Annotated[Path | None, typer.Option(
    "-w", "--workspace", help="The workspace; default: the current folder, upwards.")]


def say(line: str) -> None:
    """Print a line as it is, at once."""
    print(line, flush=True)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder that becomes the workspace.")],
    data: Annotated[Path | None, typer.Option(help="Your labelled file.")] = None,
    text: Annotated[str, typer.Option(help="Its column with the text.")] = "text",
    label: Annotated[str, typer.Option(help="Its column with the label.")] = "label",
    encoding: Annotated[str, typer.Option(help="Its encoding, if it is CSV.")] = "utf-8",
    git_remote: Annotated[str | None, typer.Option(help="URL or folder of the git remote.")] = None,
    dvc_remote: Annotated[str | None, typer.Option(help="URL or folder of the DVC remote.")] = None,
) -> None:
    """Make a workspace: git, DVC, notebooks, config; with --data, ready to train on your file."""
    from ftzard import new_workspace
    from ftzard.dataset import reading

    config: dict = {}
    if data is not None:
        config["data"] = new_workspace.describe_data(data, text, label, encoding=encoding)
        stored = reading.store_raw(data, folder.resolve() / "data")
        config["data"]["source"] = f"data/raw/{stored.name}"
    workspace = new_workspace.create(folder, config=config, git_remote=git_remote,
                                     dvc_remote=dvc_remote, invent_identity=True)
    say(f"✓ {workspace.root} is a workspace; its config is {workspace.root / 'ftzard.yaml'}")
    say(f"  train:  ftzard run training_pipeline_job -w {folder}")
    say(f"  look:   ftzard ui -w {folder}")


@app.command()
def run(
    job: Annotated[str, typer.Argument(help="One of: " + ", ".join(JOBS))],
    overrides: Annotated[list[str] | None, typer.Argument(
        help="hydra overrides, such as training.epochs=1 model=falcon_tiny.")] = None,
    workspace: InWorkspace = None,
    config: Annotated[Path | None, typer.Option(
        "-c", "--config", help="A Launchpad YAML.")] = None,
) -> None:
    """Run a job here and now, showing each step."""
    from ftzard.workspace import find

    place = find(workspace)
    job = job_named(job)
    request, resources = {}, {}
    if config is not None:
        if not config.is_file():
            raise FtzardError(f"{config} does not exist; expected a Launchpad YAML.")
        request, resources = launch.launchpad(yaml.safe_load(config.read_text()) or {})
    request = launch.merged(request, overrides or [])
    place.config(request)
    say(f"{job} in {place.root}")
    outcome = launch.run(place, job, request, resources=resources, say=say)
    show_outcome(place, job, outcome)
    if not outcome.success:
        raise typer.Exit(1)


def show_outcome(place, job: str, outcome) -> None:
    """Print how a run ended: what was made and where to look, or what went wrong."""
    from ftzard.inputs import made

    if not outcome.success:
        say(f"\n✗ {job} failed{f' in {outcome.failed_step}' if outcome.failed_step else ''}: "
            f"{outcome.failure}")
        say(f"  notebooks as executed: {place.executed / outcome.run_id}")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("step", "artifact", "rows", "where", "data version"):
        table.add_column(column, justify="right" if column == "rows" else "left")
    for line in made(place, JOBS[job]):
        table.add_row(*line)
    say(f"\n✓ {job} in {outcome.seconds:.0f} s")
    out.print(table)
    for line in verdicts(place, JOBS[job]):
        say(line)
    if place.report.is_file():
        say(f"report: {place.report}")
    say(f"look:   ftzard ui -w {place.root}")


def verdicts(place, steps) -> list[str]:
    """Return the gate's sentences of the steps that have a verdict."""
    from ftzard.inputs import metadata_if_any

    lines = []
    for name in steps:
        verdict = (metadata_if_any(name, place) or {}).get("facts", {}).get("verdict")
        if verdict:
            lines.append(f"verdict: {verdict['decision']}. " + " ".join(verdict["reasons"]))
    return lines


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder of the demo.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of training.")] = 0,
) -> None:
    """Run whole rounds of continual learning on the sample data, in a fresh workspace."""
    from ftzard import demo as story

    story.run(folder, seed=seed, say=say, table=out.print)


@app.command()
def status(
    workspace: InWorkspace = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show the workspace: models, steps, rows that wait for labels, what is not pushed."""
    from ftzard.status import gather
    from ftzard.workspace import find

    state = gather(find(workspace))
    if as_json:
        say(json.dumps(state, indent=1, default=str))
        return
    say(f"workspace  {state['workspace']} at {(state['git_commit'] or 'no commit')[:10]}")
    for role in ("champion", "challenger"):
        model = state[role]
        if model is None:
            say(f"{role:<10} none")
            continue
        scores = model["metrics"] or {}
        right = f", {scores['accuracy']:.1%} of {scores['n']:,} test rows" if scores else ""
        say(f"{role:<10} {model['name']}@{model['version']}{right}, base {model['base_model']}, "
            f"data {(model['data_version'] or 'none')[:10]}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("step", "runs", "last state", "at (UTC)", "seconds"):
        table.add_column(column, justify="right" if column in ("runs", "seconds") else "left")
    for name, step in state["steps"].items():
        table.add_row(name, str(step["runs"]), step["state"] or "-",
                      (step["time"] or "-").removesuffix("+00:00"), str(step["seconds"] or "-"))
    out.print(table)
    say(f"waiting for labels: {state['rows_waiting_for_labels']} rows")
    if state["drift"]:
        say(f"drift of batch {state['drift']['batch']}: {state['drift']['sentence']}")
    local = state["commits_not_pushed"]
    say(f"not pushed: {len(local)} commits"
        + (f"; {state['not_pushed_reason']}" if local and state["not_pushed_reason"] else ""))


@app.command()
def predict(
    texts: Annotated[list[str], typer.Argument(help="One or more texts.")],
    workspace: InWorkspace = None,
) -> None:
    """Predict texts with the champion."""
    from ftzard.models import adapter
    from ftzard.notebooks import model_files
    from ftzard.notebooks.chapter import connect
    from ftzard.tracking import registry
    from ftzard.workspace import find

    place = find(workspace)
    config = place.config()
    champion = registry.champion(connect(place, config), config.tracking.registered_model)
    classifier = adapter.open_classifier(*model_files.version_files(place, champion))
    for text, row in zip(texts, classifier.predict(cleaned(classifier, texts)).itertuples(),
                         strict=True):
        say(f"{row.label}  {row.confidence:.3f}  {text}")


def cleaned(classifier, texts: list[str]) -> list[str]:
    """Return texts cleaned as the classifier's training rows were."""
    import pandas as pd

    from ftzard.dataset.cleaning import clean_texts

    settings = {k: v for k, v in classifier.meta.get("cleaning", {}).items()
                if k in ("mention", "link")}
    return clean_texts(pd.Series(texts), **settings).to_pylist()


@app.command()
def label(
    batch: Annotated[str | None, typer.Argument(
        help="A batch in data/labelling, or how it begins; default: the newest.")] = None,
    person: Annotated[str | None, typer.Option("--as", help="Who labels; default: you.")] = None,
    twice: Annotated[bool, typer.Option(
        "--twice", help="Also rows that others have labelled, to see whether you agree.")] = False,
    workspace: InWorkspace = None,
) -> None:
    """Label the rows that wait, one text at a time, with a key per label."""
    import getpass

    from ftzard import labelling_view
    from ftzard.workspace import find

    sitting = labelling_view.open_sitting(find(workspace), batch, person or getpass.getuser(),
                                          twice=twice)
    labelling_view.run(sitting, say)


@app.command()
def promote(
    version: Annotated[int, typer.Argument(help="Number of the version.")],
    reason: Annotated[str, typer.Option(help="Why the gate is overruled; it is kept.")],
    person: Annotated[str | None, typer.Option("--as", help="Who decides; default: you.")] = None,
    workspace: InWorkspace = None,
) -> None:
    """Make a version the champion by hand; the champion before becomes previous."""
    from ftzard import promotion
    from ftzard.workspace import find

    show_promotion(promotion.promote(find(workspace), version, reason=reason, who=person, say=say))


@app.command()
def rollback(
    reason: Annotated[str | None, typer.Option(help="Why; it is kept.")] = None,
    person: Annotated[str | None, typer.Option("--as", help="Who decides; default: you.")] = None,
    workspace: InWorkspace = None,
) -> None:
    """Make the previous champion the champion again."""
    from ftzard import promotion
    from ftzard.workspace import find

    show_promotion(promotion.rollback(find(workspace), reason=reason, who=person, say=say))


def show_promotion(done) -> None:
    """Print what a promotion by hand has changed."""
    before = f", {done.before} is previous" if done.before else ""
    say(f"✓ {done.champion} is champion{before}; on record at {done.commit[:10]}, {done.pushed}"
        + (f": {done.reason}" if done.reason else ""))


@app.command()
def ui(
    workspace: InWorkspace = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of Dagster.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow.")] = 5000,
    only: Annotated[str | None, typer.Option(help="dagster or mlflow.")] = None,
) -> None:
    """Serve Dagster with its sensors, and MLflow, on this workspace until Ctrl-C."""
    from ftzard import services
    from ftzard.workspace import find

    place = find(workspace)
    commands, addresses = {}, {}
    if only not in (None, "dagster", "mlflow"):
        raise FtzardError(f"--only is '{only}'; expected dagster or mlflow.")
    if only != "mlflow":
        commands["daemon"] = services.daemon(place)
        commands["webserver"] = services.webserver(place, host, services.free_port(host, port))
        addresses["Dagster"] = (host, port)
    if only != "dagster":
        commands["mlflow"] = services.mlflow(place, host, services.free_port(host, mlflow_port))
        addresses["MLflow"] = (host, mlflow_port)
    with services.serving(place, commands) as started:
        for name, (where, number) in addresses.items():
            process = started["webserver" if name == "Dagster" else "mlflow"]
            services.wait_for_answer(where, number, name, process)
            say(f"{name:<8} http://{where}:{number}")
        say("sensors watch data/incoming and data/labelled; Ctrl-C ends it all"
            if "daemon" in started else "Ctrl-C ends it")
        until_interrupted(started)


def until_interrupted(processes) -> None:
    """Wait for Ctrl-C; raises FtzardError if a server ends by itself."""
    while True:
        for name, process in processes.items():
            if process.poll() is not None:
                raise FtzardError(f"{name} ended with code {process.returncode}; see its log in "
                                  ".ftzard/logs.")
        time.sleep(0.5)


@app.command()
def lab(
    workspace: InWorkspace = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of Jupyter.")] = 8888,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Open JupyterLab on the workspace's notebooks until Ctrl-C."""
    from ftzard import services
    from ftzard.workspace import find

    place = find(workspace)
    command = services.jupyter(place, host, services.free_port(host, port), browser)
    with services.serving(place, {"jupyter": command}, logs=False) as started:
        until_interrupted(started)


@app.command()
def push(workspace: InWorkspace = None) -> None:
    """Send what is not pushed yet: data first, then commits."""
    from ftzard import lineage
    from ftzard.versioning.publish import push as send
    from ftzard.workspace import find

    place = find(workspace)
    state, reason = send(place.root, say)
    say(state + (f": {reason}" if reason else ""))
    if reason:
        raise typer.Exit(1)
    tracking = lineage.store(place, place.config())
    if tracking is not None:
        from ftzard.notebooks.versions import settle

        settle(place, tracking)


def show_whole(what) -> None:
    """Print a table or a tree with nothing cut off, folded where a terminal is too narrow."""
    Console(highlight=False, width=None if out.is_terminal else 10_000).print(what)


@app.command()
def history(
    artifact: Annotated[str | None, typer.Argument(
        help="Its name (cleaned, delivery, adapter, …) or its path; default: all.")] = None,
    workspace: InWorkspace = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show the versions of an artifact: when, how large, by which run, in which models."""
    from ftzard import lineage, shown
    from ftzard.versioning.versions import why_not_pushed
    from ftzard.workspace import find

    place = find(workspace)
    versions = lineage.history(place, artifact)
    if as_json:
        say(json.dumps(versions, indent=1))
        return
    show_whole(shown.history_table(versions))
    if not all(version["pushed"] for version in versions):
        say(f"not pushed: {why_not_pushed(place.root)}")


@app.command()
def lineage(
    model: Annotated[str | None, typer.Argument(
        help="MODEL or MODEL@VERSION; default: the champion.")] = None,
    workspace: InWorkspace = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show what a model is made of: rows, code, config, base, parents, runs and notebooks."""
    from ftzard import lineage, shown
    from ftzard.workspace import find

    told = lineage.lineage(find(workspace), model)
    if as_json:
        say(json.dumps(told, indent=1, default=str))
    else:
        show_whole(shown.lineage_tree(told))


@app.command()
def restore(
    which: Annotated[str, typer.Argument(help="A commit, or the id of an MLflow run.")],
    artifacts: Annotated[list[str] | None, typer.Argument(
        help="Names or paths of artifacts; default: all there were.")] = None,
    workspace: InWorkspace = None,
) -> None:
    """Bring artifacts of an earlier version back, from the cache or the remote."""
    from ftzard import restore, shown
    from ftzard.workspace import find

    done = restore.restore(find(workspace), which, artifacts or (), say=say)
    if not done["files"]:
        say(f"nothing to restore: everything is as it was at {which}")
        return
    show_whole(shown.restored_table(done["files"]))
    say(f"committed {done['commit'][:10]}; it goes out with the next run, or with 'ftzard push'"
        if done["commit"] else "nothing to commit: git had these versions, their data was away")


@app.command()
def doctor(
    workspace: InWorkspace = None,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what loses nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say what is wrong with a workspace and the command that mends it; with --fix, mend it."""
    from ftzard import doctor as doctors
    from ftzard.workspace import find

    place, said = find(workspace), []
    if fix:
        found = doctors.cure(place, said.append if as_json else say)
    else:
        found = doctors.examine(place)
    if as_json:
        say(json.dumps({"mended": said, "findings": [f.to_dict() for f in found]}, indent=1))
    else:
        for line in doctors.lines(found):
            say(line)
    if any(finding.state == doctors.WRONG for finding in found):
        raise typer.Exit(1)


@app.command()
def reproduce(
    model: Annotated[str, typer.Argument(help="MODEL@VERSION, or a VERSION of this workspace's "
                                              "model.")],
    workspace: InWorkspace = None,
) -> None:
    """Train a registered version again from its record and say whether it comes out equal."""
    from ftzard.reproduce import reproduce as again
    from ftzard.workspace import find

    place = find(workspace)
    name, _, number = model.rpartition("@")
    if not number.isdigit():
        raise FtzardError(f"'{model}' names no version; expected MODEL@VERSION, as in "
                          f"{place.config().tracking.registered_model}@1.")
    found = again(place, name or place.config().tracking.registered_model, int(number), say)
    for line in found.differences:
        say(f"  {line}")
    say(f"{'✓ equal' if found.equal else '✗ not equal'}: {found.model}, weights "
        f"{found.weights[:12]}, {found.accuracy:.1%} of {found.test_rows:,} test rows")
    if not found.equal:
        raise typer.Exit(1)


@app.command()
def config(
    overrides: Annotated[list[str] | None, typer.Argument(help="hydra overrides.")] = None,
    workspace: InWorkspace = None,
) -> None:
    """Show the resolved config that a run would get."""
    from ftzard.config.compose import to_record
    from ftzard.workspace import find

    resolved = find(workspace).config({"overrides": overrides or []})
    say(yaml.safe_dump(to_record(resolved), sort_keys=False, allow_unicode=True))


def main() -> None:
    """Run the command line; a refusal is one sentence and exit code 1, Ctrl-C or a
    termination exit code 130."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        code = app(standalone_mode=False)
        if code == 130:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except FtzardError as error:
        print(f"✗ {error}", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, typer.Abort):
        print("\ninterrupted; what was running has been ended", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if not hasattr(error, "show") or not hasattr(error, "exit_code"):
            raise
        error.show()  # a usage error of the command line itself
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
