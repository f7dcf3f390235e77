"""Commands that run a job, or say what it would take."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ftzard.cli.arguments import A_PATH, AsJson, InWorkspace
from ftzard.cli.layout import Column, Table
from ftzard.cli.printing import say, say_value, show_whole, telling
from ftzard.config import pipeline
from ftzard.config.pipeline import JOBS, job_named
from ftzard.orchestration import launch, launchpad_file

app = typer.Typer(rich_markup_mode=None)


@app.command()
def run(
    job: Annotated[str, typer.Argument(help="One of: " + ", ".join(JOBS))],
    overrides: Annotated[list[str] | None, typer.Argument(
        help="hydra overrides, such as training.epochs=1 model=falcon_tiny.")] = None,
    workspace: InWorkspace = None,
    config: Annotated[Path | None, typer.Option(
        "-c", "--config", help="A Launchpad YAML.", **A_PATH)] = None,
    as_json: AsJson = False,
) -> None:
    """Run a job here and now, showing each step."""
    from ftzard.config import effects, unusual
    from ftzard.workspace.workspace import find

    place = find(workspace)
    job = job_named(job)
    launchpad = (launchpad_file.split_launchpad({}) if config is None
                 else launchpad_file.read_launchpad(config, job))
    request = launchpad_file.with_overrides(launchpad.experiment, overrides or [])
    resolved = place.resolve(request)
    effects.refuse_without_effect(resolved, job)
    unusual.require_usual(resolved, JOBS[job])
    tell = telling(as_json)
    tell(f"{job} in {place.root}")
    request, tags = delivery(place, job, request, launchpad.resources, tell)
    outcome = launch.run(place, job, request, resources=launchpad.resources,
                         dagster=launchpad.dagster, tags=tags, say=tell)
    if as_json:
        say_value(outcome_values(place, job, outcome))
    else:
        show_outcome(place, job, outcome)
    if not outcome.success:
        raise typer.Exit(1)


def outcome_values(place, job: str, outcome) -> dict:
    """Return how a run ended as plain values: its steps, what was made, verdicts, or its failure.
    """
    from ftzard.steps.inputs import metadata_if_any

    metadata = {name: metadata_if_any(name, place) or {} for name in JOBS[job]} if (
        outcome.success) else {}
    return {
        "job": job, "run": outcome.run_id, "success": outcome.success,
        "seconds": round(outcome.seconds, 1), "step_seconds": outcome.step_seconds,
        "failed_step": outcome.failed_step, "failure": outcome.failure,
        "notebooks": str(place.executed / outcome.run_id),
        "artifacts": [{"step": name, **artifact} for name, one in metadata.items()
                      for artifact in one.get("artifacts", [])],
        "verdicts": {name: one["facts"]["verdict"] for name, one in metadata.items()
                     if one.get("facts", {}).get("verdict")},
    }


def delivery(place, job: str, request: dict, resources: dict, tell: Callable[[str], None] = say
             ) -> tuple[dict, dict[str, str]]:
    """Return the request with the file that the job takes from its drop folder, and run tags."""
    drop = pipeline.drop_folder(job)
    if drop is None or drop.key == "source" and not list(getattr(place, drop.name).glob("*")):
        return request, {}  # a job of raw rows, and none was dropped: data.source says which
    os.environ.update(launch.environment(place))
    from dagster import DagsterInstance

    from ftzard.orchestration.drop_folder_runs import shortened
    from ftzard.orchestration.file_selection import DELIVERY, select_file

    with DagsterInstance.get() as instance:
        selection = select_file(instance, place, job, request, resources)
    if DELIVERY in selection.tags:
        tell(f"file: {selection.tags[DELIVERY]}")
    if selection.waiting:
        folder = f"data/{drop.name}"
        tell(f"not taken: {shortened(selection.waiting)} in {folder}, since the config names other "
             f"rows (the sensor takes them; here: data.source={folder}/{selection.waiting[0]})")
    return selection.request, selection.tags


def show_outcome(place, job: str, outcome) -> None:
    """Print how a run ended: what was made and where to look, or what went wrong."""
    from ftzard.steps.inputs import latest_outputs

    began = time.time() - outcome.seconds
    if not outcome.success:
        say(f"\n✗ {job} failed{f' in {outcome.failed_step}' if outcome.failed_step else ''}: "
            f"{outcome.failure}")
        say(f"  notebooks as executed: {place.executed / outcome.run_id}")
        return
    table = Table((Column("step", rank=2), Column("artifact"), Column("rows", right=True, rank=1),
                   Column("where"), Column("data version", rank=3)))
    lines = latest_outputs(place, JOBS[job])
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
    from ftzard.reporting import batch_names
    from ftzard.steps.inputs import metadata_if_any
    from ftzard.versioning import delivery_names

    lines, names = [], delivery_names.known(place)
    for name in steps:
        facts = (metadata_if_any(name, place) or {}).get("facts", {})
        verdict = facts.get("verdict")
        if not verdict:
            continue
        lines.append(batch_names.told(
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
    gpu: Annotated[str | None, typer.Option(
        help="For another machine: the memory of its GPU, as 24GB.")] = None,
    ram: Annotated[str | None, typer.Option(
        help="For another machine without a GPU: its memory, as 64GB.")] = None,
    cpus: Annotated[int | None, typer.Option(
        help="For another machine without a GPU: the cores it computes with.")] = None,
    workspace: InWorkspace = None,
    as_json: AsJson = False,
) -> None:
    """Say what a job would take, and whether it fits. Before it runs: rows, steps, memory, time.

    The exit code is 0 if it fits and 1 if it does not."""
    from ftzard.steps import machine, plan, plan_text
    from ftzard.workspace.workspace import find

    estimate = plan.plan(find(workspace), job_named(job), {"overrides": overrides or []},
                         machine=machine.named(gpu, ram, cpus))
    if as_json:
        say_value(estimate.to_dict())
    else:
        for line in plan_text.lines(estimate):
            say(line)
    if not estimate.fits:
        raise typer.Exit(1)
