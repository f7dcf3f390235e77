"""Commands that run a job, or estimate it."""

import time
from pathlib import Path
from typing import Annotated

import typer

from ftzard.cli.arguments import A_PATH, AsJson, InWorkspace
from ftzard.cli.layout import Column, Table
from ftzard.cli.printing import say, say_value, show_whole, telling
from ftzard.config.pipeline import JOBS

app = typer.Typer(rich_markup_mode=None)


@app.command()
def run(
    job: Annotated[str, typer.Argument(help="One of: " + ", ".join(JOBS))],
    overrides: Annotated[list[str] | None, typer.Argument(
        help="hydra overrides, such as training.epochs=1 model=falcon_tiny.")] = None,
    workspace: InWorkspace = None,
    config: Annotated[Path | None, typer.Option(
        "-c", "--config", help="A Launchpad YAML.", **A_PATH)] = None,
    force: Annotated[bool, typer.Option(
        "--force", help="Run every step, also those that would compute the same again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a job here and now, showing each step. What would be the same is not run again."""
    from ftzard import api

    place = api.open_workspace(workspace)
    outcome = place.run(job, overrides or (), launchpad=config, force=force, check=False,
                        say=telling(as_json))
    if as_json:
        say_value(outcome.to_dict())
    else:
        show_outcome(place.paths, outcome.job, outcome)
    if not outcome.success:
        raise typer.Exit(1)


def show_outcome(place, job: str, outcome) -> None:
    """Print the outputs of a run and where to look, or its failure."""
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
    """Return the gate's sentences of the steps with a verdict, and whether there is a champion."""
    from ftzard.reporting import batch_names
    from ftzard.steps.inputs import metadata_if_any
    from ftzard.versioning import delivery_names

    lines, names = [], delivery_names.known(place)
    for name in steps:
        facts = (metadata_if_any(name, place) or {}).get("facts", {})
        verdict = facts.get("verdict")
        if not verdict:
            continue
        lines.append(batch_names.with_names(
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
    from ftzard import api
    from ftzard.steps import plan_text

    estimate = api.open_workspace(workspace).plan(job, overrides or (), gpu=gpu, ram=ram,
                                                  cpus=cpus)
    if as_json:
        say_value(estimate.to_dict())
    else:
        for line in plan_text.lines(estimate):
            say(line)
    if not estimate.fits:
        raise typer.Exit(1)
