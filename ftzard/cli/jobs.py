"""Commands that run a job, or say what it would take."""

import json
import os
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ftzard.cli.arguments import A_PATH, AsJson, InWorkspace
from ftzard.cli.printing import say, show_whole
from ftzard.running import launch
from ftzard.steps import JOBS, job_named

app = typer.Typer(rich_markup_mode=None)


@app.command()
def run(
    job: Annotated[str, typer.Argument(help="One of: " + ", ".join(JOBS))],
    overrides: Annotated[list[str] | None, typer.Argument(
        help="hydra overrides, such as training.epochs=1 model=falcon_tiny.")] = None,
    workspace: InWorkspace = None,
    config: Annotated[Path | None, typer.Option(
        "-c", "--config", help="A Launchpad YAML.", **A_PATH)] = None,
) -> None:
    """Run a job here and now, showing each step."""
    from ftzard.config import effects, unusual
    from ftzard.workspace import find

    place = find(workspace)
    job = job_named(job)
    told = launch.launchpad({}) if config is None else launch.launchpad_file(config, job)
    request = launch.merged(told.experiment, overrides or [])
    resolved = place.resolve(request)
    effects.refuse_without_effect(resolved, job)
    unusual.require_usual(resolved, JOBS[job])
    say(f"{job} in {place.root}")
    request, tags = delivery(place, job, request, told.resources)
    outcome = launch.run(place, job, request, resources=told.resources, dagster=told.dagster,
                         tags=tags, say=say)
    show_outcome(place, job, outcome)
    if not outcome.success:
        raise typer.Exit(1)


def delivery(place, job: str, request: dict, resources: dict) -> tuple[dict, dict[str, str]]:
    """Return the request with the file that the job takes from its drop folder, and run tags."""
    drop = launch.drop_folder(job)
    if drop is None or drop.key == "source" and not list(getattr(place, drop.name).glob("*")):
        return request, {}  # a job of raw rows, and none was dropped: data.source says which
    os.environ.update(launch.environment(place))
    from dagster import DagsterInstance

    from ftzard.pipeline.deliveries import told
    from ftzard.pipeline.taking import DELIVERY, taken

    with DagsterInstance.get() as instance:
        found = taken(instance, place, job, request, resources)
    if DELIVERY in found.tags:
        say(f"file: {found.tags[DELIVERY]}")
    if found.waiting:
        folder = f"data/{drop.name}"
        say(f"not taken: {told(found.waiting)} in {folder}, since the config names other rows "
            f"(the sensor takes them; here: data.source={folder}/{found.waiting[0]})")
    return found.request, found.tags


def show_outcome(place, job: str, outcome) -> None:
    """Print how a run ended: what was made and where to look, or what went wrong."""
    from ftzard.inputs import made

    began = time.time() - outcome.seconds
    if not outcome.success:
        say(f"\n✗ {job} failed{f' in {outcome.failed_step}' if outcome.failed_step else ''}: "
            f"{outcome.failure}")
        say(f"  notebooks as executed: {place.executed / outcome.run_id}")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("step", "artifact", "rows", "where", "data version"):
        table.add_column(column, justify="right" if column == "rows" else "left",
                         overflow="fold")
    lines = made(place, JOBS[job])
    for line in lines:
        table.add_row(*line)
    say(f"\n✓ {job} in {outcome.seconds:.0f} s")
    show_whole(table)
    for line in verdicts(place, JOBS[job]):
        say(line)
    for _, artifact, rows, path, _ in lines:
        if artifact == "queue":
            say(f"{rows or 'no'} rows to label: {path}; ftzard label -w {place.in_shell}")
    if place.report.is_file() and place.report.stat().st_mtime >= began:
        say(f"report: {place.report}")
    say(f"look:   ftzard ui -w {place.in_shell}")


def verdicts(place, steps) -> list[str]:
    """Return the gate's sentences of the steps that have a verdict, and who is champion if nobody.
    """
    from ftzard import delivery_names
    from ftzard.evaluation import batches
    from ftzard.inputs import metadata_if_any

    lines, names = [], delivery_names.known(place)
    for name in steps:
        facts = (metadata_if_any(name, place) or {}).get("facts", {})
        verdict = facts.get("verdict")
        if not verdict:
            continue
        lines.append(batches.told(
            f"verdict: {verdict['decision']}. " + " ".join(verdict["reasons"]), names))
        lines += [f"warning: {warning}" for warning in verdict.get("warnings") or []]
        if (verdict.get("limits") or {}).get("trial"):
            lines.append("a trial (gate.trial=true): the rules for a first champion only warn")
        if not verdict["promoted"] and facts["champion"] is None:
            lines.append(
                f"no champion: {facts['model']}@{facts['version']} was not promoted. Ask it all "
                f"the same with 'ftzard predict challenger … -w {place.in_shell}', or make it "
                f"champion with 'ftzard promote {facts['version']} --reason … -w "
                f"{place.in_shell}'.")
    return lines


@app.command()
def plan(
    job: Annotated[str, typer.Argument(help="One of: " + ", ".join(JOBS))],
    overrides: Annotated[list[str] | None, typer.Argument(help="hydra overrides.")] = None,
    workspace: InWorkspace = None,
    as_json: AsJson = False,
) -> None:
    """Say what a job would take, and whether it fits. Before it runs: rows, steps, memory, time."""
    from ftzard.planning import plan
    from ftzard.workspace import find

    told = plan.plan(find(workspace), job_named(job), {"overrides": overrides or []})
    for line in [json.dumps(told.to_dict(), indent=1)] if as_json else plan.lines(told):
        say(line)
