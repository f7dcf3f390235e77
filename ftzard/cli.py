"""The command line: parses, calls, prints. What it does stands in the modules it calls."""

# ruff: noqa: E402
from ftzard import python_settings

python_settings.apply()  # before anything is imported that a user's module could hide

import contextlib
import gc
import json
import os
import shlex
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import ftzard
from ftzard.errors import FtzardError, described
from ftzard.running import launch
from ftzard.steps import JOBS, job_named
from ftzard.terminal import output

os.environ.update({k: v for k, v in launch.QUIET.items() if k not in os.environ})
app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None,
                  pretty_exceptions_enable=False)


class Terminal(Console):
    """A rich console that goes on in silence when whoever reads the output has left."""

    def on_broken_pipe(self) -> None:
        output.drop()


out = Terminal(highlight=False, soft_wrap=True, markup=False, emoji=False)


def path_named(text: str | Path) -> Path:
    """Return the path of an argument; an empty one, which would mean the current folder, is none.
    """
    if not str(text).strip():
        raise typer.BadParameter("it is empty; expected a path ('.' is the current folder).")
    return Path(text)


#: What every argument that is a path is read with.
A_PATH = {"parser": path_named, "metavar": "<path>"}
InWorkspace = Annotated[Path | None, typer.Option(
    "-w", "--workspace", **A_PATH,
    help="The workspace; default: FTZARD_WORKSPACE, else the current folder, upwards.")]


def show_version(asked: bool) -> None:
    """Print the version and end, if it was asked for."""
    if asked:
        say(f"ftzard {ftzard.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option(
        "--version", callback=show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Continual fine-tuning of language models, never silently wrong."""


def say(line: str) -> None:
    """Print a line as it is, at once; a reader that has left, as `head` does, stops nothing."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        output.drop()


def say_json(line: str) -> None:
    """Print a line of JSON, its letters as escapes where the output cannot hold them.

    Raises BrokenPipeError when its reader has left: who makes the lines may stop.
    """
    print(line if output.holds(line) else json.dumps(json.loads(line)), flush=True)


@app.command()
def init(
    folder: Annotated[str, typer.Argument(help="Folder that becomes the workspace.",
                                          metavar="<path>")],
    data: Annotated[Path | None, typer.Option(help="Your labelled file.", **A_PATH)] = None,
    text: Annotated[str | None, typer.Option(
        help="Its column with the text or instruction; default: text or instruction.")] = None,
    label: Annotated[str | None, typer.Option(
        help="Its column with the label or answer; default: label or output.")] = None,
    about: Annotated[str | None, typer.Option(
        "--input", help="Its column with what an instruction is about; default: input, if it is "
                        "there.")] = None,
    messages: Annotated[str | None, typer.Option(
        help="Its column with chats; default: messages, if it is there.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(
        help="A column that is left out on purpose although it belongs to what is asked, such as "
             "tools; may be given more than once.")] = None,
    single_label: Annotated[bool, typer.Option(
        "--single-label", help="Its labels are names, even those that look like several labels in "
                               "a row.")] = False,
    task: Annotated[str, typer.Option(
        help="classification or instruction_tuning.")] = "classification",
    sample: Annotated[bool, typer.Option(
        "--sample", help="With 1,200 sample instructions, to try a round (instruction_tuning)."
        )] = False,
    encoding: Annotated[str, typer.Option(help="Its encoding, if it is text.")] = "utf-8",
    delimiter: Annotated[str, typer.Option(
        help="What separates the cells of a CSV file, as ';', or tab.")] = ",",
    quoting: Annotated[str | None, typer.Option(
        help="What a quote sign is in a CSV file: csv (it begins and ends a cell) or none (an "
             "ordinary sign); default: what the file fits.")] = None,
    git_remote: Annotated[str | None, typer.Option(help="URL or folder of the git remote.")] = None,
    dvc_remote: Annotated[str | None, typer.Option(help="URL or folder of the DVC remote.")] = None,
) -> None:
    """Make a workspace: git, DVC, notebooks and config. With --data, ready to train on it."""
    from ftzard import new_workspace

    workspace = new_workspace.init(
        folder, task=task, data=data, text=text, label=label, about=about, messages=messages,
        ignored=ignore or (), single_label=single_label, sample=sample, encoding=encoding,
        delimiter=delimiter, quoting=quoting, say=say, git_remote=git_remote,
        dvc_remote=dvc_remote)
    if data is not None or sample:
        from ftzard.planning import first_look

        for line in first_look.lines(workspace):
            say(line)
    say(f"✓ {workspace.root} is a workspace; its config is {workspace.root / 'ftzard.yaml'}")
    say(f"  train:  ftzard run training_pipeline_job -w {shlex.quote(str(folder))}")
    if sample:
        say(f"  then:   drop batches of {Path(folder, 'data', 'sample')} into its data/incoming")
    say(f"  look:   ftzard ui -w {shlex.quote(str(folder))}")


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

    from ftzard.pipeline.taking import DELIVERY, taken

    with DagsterInstance.get() as instance:
        found = taken(instance, place, job, request, resources)
    if DELIVERY in found.tags:
        say(f"file: {found.tags[DELIVERY]}")
    if found.waiting:
        folder = f"data/{drop.name}"
        say(f"not taken: {', '.join(found.waiting)} in {folder}, since the config names other rows "
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
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder of the demo.", **A_PATH)] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of training.")] = 0,
) -> None:
    """Run three rounds on sample data, in a fresh workspace."""
    from ftzard import demo as story

    story.run(folder, seed=seed, say=say, table=out.print)


@app.command()
def status(
    workspace: InWorkspace = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show models, steps, rows to label and what is not pushed."""
    from ftzard.evaluation import measures
    from ftzard.status import gather
    from ftzard.workspace import find

    state = gather(find(workspace))
    if as_json:
        say(json.dumps(state, indent=1, default=str))
        return
    say(f"workspace  {state['workspace']} at {(state['git_commit'] or 'no commit')[:10]}"
        + (", a trial (gate.trial=true)" if state["trial"] else ""))
    for role in ("champion", "challenger"):
        model = state[role]
        if model is None:
            waiting = state["challenger"] if role == "champion" else None
            say(f"{role:<10} none" + (
                f" (version {waiting['version']} was not promoted: {waiting['verdict']})"
                if waiting and waiting["verdict"] else ""))
            continue
        scores = model["metrics"] or {}
        right = f", {measures.sentence(scores)}" if scores else ""
        say(f"{role:<10} {model['name']}@{model['version']}{right}, base {model['base_model']}, "
            f"data {(model['data_version'] or 'none')[:10]}{', a trial' * model['trial']}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("step", "runs", "last state", "at (UTC)", "seconds"):
        table.add_column(column, justify="right" if column in ("runs", "seconds") else "left")
    for name, step in state["steps"].items():
        table.add_row(name, str(step["runs"]), step["state"] or "-",
                      (step["time"] or "-").removesuffix("+00:00"), str(step["seconds"] or "-"))
    out.print(table)
    say(f"rules of identity: version {state['identity']}")
    say(f"waiting for labels: {state['rows_waiting_for_labels']} rows")
    if state["raw_files_waiting"]:
        say(f"waiting to be trained on: {', '.join(state['raw_files_waiting'])} in "
            "data/raw_incoming")
    if state["drift"]:
        say(f"drift of {state['drift']['called']}: {state['drift']['sentence']}")
    local = state["commits_not_pushed"]
    say(f"not pushed: {len(local)} commit{'' if len(local) == 1 else 's'}"
        + (f"; {state['not_pushed_reason']}" if local and state["not_pushed_reason"] else ""))


@app.command()
def predict(
    what: Annotated[list[str] | None, typer.Argument(
        metavar="[MODEL] [FILE|-|TEXT…]",
        help="MODEL: champion (the default), challenger, previous, base or NAME@VERSION. Then a "
             ".txt, .jsonl, .csv or .parquet file, '-' or nothing for what is piped in, or texts."
        )] = None,
    workspace: InWorkspace = None,
    kind: Annotated[str | None, typer.Option(
        "--format", help="txt, jsonl or csv; default: by the file's name or its first line."
    )] = None,
    column: Annotated[str | None, typer.Option(
        "--text", help="Column with the text; default: data.text_column.")] = None,
    encoding: Annotated[str | None, typer.Option(
        help="Encoding of the input; default: data.encoding.")] = None,
    delimiter: Annotated[str | None, typer.Option(
        help="What separates the cells of CSV, as ';'; default: data.delimiter.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Texts too as JSON.")] = False,
) -> None:
    """Predict texts, a file or a stream. A line of JSON for each of its lines, in order."""
    from ftzard.registered import predicting
    from ftzard.workspace import find

    place, asked = find(workspace), predicting.understood(what or [])
    if asked.source is None:
        given = {"--format": kind, "--text": column, "--encoding": encoding,
                 "--delimiter": delimiter}
        for option in (name for name, value in given.items() if value is not None):
            raise FtzardError(f"{option} goes with a file or a pipe, and texts were given; leave "
                              "it out.")
        for row in predicting.predict_texts(place, asked,
                                             note=None if as_json else complain):
            if as_json:
                say_json(json.dumps(row, ensure_ascii=False))
            else:
                say(predicting.shown(row))
        return
    if asked.source == predicting.STREAM and sys.stdin.isatty():
        print("texts, one per line; Ctrl-D ends them", file=sys.stderr)
    tally = predicting.predict_stream(place, asked, say_json, kind=kind, column=column,
                                      encoding=encoding, delimiter=delimiter)
    if tally.bad:
        numbers = ", ".join(map(str, tally.bad[:10])) + (", …" if len(tally.bad) > 10 else "")
        raise FtzardError(f"{len(tally.bad):,} of {tally.lines:,} lines could not be predicted; "
                          f"their errors are in the output: line {numbers}.")


@app.command()
def compare(
    first: Annotated[str, typer.Argument(
        help="champion, challenger, previous, base or NAME@VERSION.")],
    second: Annotated[str, typer.Argument(help="Another one.")],
    workspace: InWorkspace = None,
    file: Annotated[Path | None, typer.Option(
        help="A labelled file; default: the test rows of all batches.", **A_PATH)] = None,
    examples: Annotated[int, typer.Option(
        help="How many texts to show on which they disagree.")] = 10,
    html: Annotated[Path | None, typer.Option(help="Write it as a page, too.", **A_PATH)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Compare two models on the same rows. Scores, where they disagree, speed and memory."""
    from ftzard.registered import compare as comparing
    from ftzard.terminal import shown_models
    from ftzard.workspace import find

    found = comparing.compare(find(workspace), first, second, file=file,
                              say=(lambda line: None) if as_json else say)
    if html is not None:
        comparing.report(found, html)
    if as_json:
        say(json.dumps(found.to_dict(), indent=1))
        return
    told = found.to_dict(examples)
    show_whole(shown_models.score_table(told))
    say(found.verdict())
    for line in shown_models.rows_told(told):
        say(line)
    if told["disagreements"]:
        show_whole(shown_models.disagreement_table(told))
    if html is not None:
        say(f"page: {html}")


@app.command()
def export(
    model: Annotated[str, typer.Argument(
        help="champion, challenger, previous or NAME@VERSION.")],
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.", **A_PATH)],
    adapter: Annotated[bool, typer.Option("--adapter", help="As peft's adapter.")] = False,
    merged: Annotated[bool, typer.Option("--merged", help="As one model.")] = False,
    tolerance: Annotated[float | None, typer.Option(
        help="Largest difference of its logits; default: what rounding explains."
    )] = None,
    push_to: Annotated[str | None, typer.Option(
        "--push", help="A hub's repository to upload to; the token is HF_TOKEN's.")] = None,
    workspace: InWorkspace = None,
) -> None:
    """Write a model as transformers and peft load it. With its card, without FTzard."""
    from ftzard.registered import export as exporting
    from ftzard.workspace import find

    if adapter == merged:
        raise FtzardError("say what to export: --adapter or --merged.")
    done = exporting.export(find(workspace), model, folder, tolerance=tolerance, push=push_to,
                            form="adapter" if adapter else "merged", say=say)
    say(f"✓ {done.model} is in {done.folder}; loaded by transformers, its logits differ by at "
        f"most {done.parity['largest']:.2g} on {done.parity['rows']} texts, "
        f"{done.parity['changed']} with another {done.said}"
        + (f"; pushed to {done.url}" if done.url else ""))


models = typer.Typer(no_args_is_help=True, rich_markup_mode=None,
                     help="The registered models: list, show, tag, delete.")
app.add_typer(models, name="models")
Which = Annotated[str, typer.Argument(
    help="champion, challenger, previous, base or NAME@VERSION.")]


@models.command("list")
def models_list(
    name: Annotated[str | None, typer.Argument(help="One model; default: all.")] = None,
    workspace: InWorkspace = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the versions of registered models with aliases, scores, base, data and size."""
    from ftzard.registered import lookup
    from ftzard.terminal import shown_models
    from ftzard.workspace import find

    lines = lookup.listing(find(workspace), name)
    if as_json:
        say(json.dumps(lines, indent=1))
    elif not lines:
        say("no model is registered yet; 'ftzard run training_pipeline_job' registers the first")
    else:
        show_whole(shown_models.list_table(lines))


@models.command("show")
def models_show(
    model: Which,
    workspace: InWorkspace = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show a version: aliases, tags, metrics, data versions, base, size, run."""
    from ftzard.registered import lookup
    from ftzard.terminal import shown_models
    from ftzard.workspace import find

    told = lookup.describe(find(workspace), model)
    if as_json:
        say(json.dumps(told, indent=1, default=str))
    else:
        show_whole(shown_models.model_tree(told))


@models.command("tag")
def models_tag(
    model: Which,
    pairs: Annotated[list[str], typer.Argument(
        metavar="KEY=VALUE…", help="Tags to set; KEY= takes one away.")],
    workspace: InWorkspace = None,
) -> None:
    """Set or take away tags of a version."""
    from ftzard.registered import lookup
    from ftzard.workspace import find

    tags = lookup.parsed_tags(pairs)
    version = lookup.set_tags(find(workspace), model, tags)
    say(f"✓ {version}: " + ", ".join(f"{key} = {value}" if value is not None else f"{key} is gone"
                                     for key, value in tags.items()))


@models.command("delete")
def models_delete(
    model: Annotated[str, typer.Argument(
        help="NAME@VERSION or a role for one version, NAME for a whole model.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option(
        "--force", help="Also the previous and the challenger; a whole model with its champion."
    )] = False,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the record.")] = "",
    workspace: InWorkspace = None,
) -> None:
    """Delete a version, or a whole model, and its files in MLflow; the record in git stays."""
    from ftzard.registered import deletion
    from ftzard.workspace import find

    place = find(workspace)
    plan = deletion.planned(place, model, force=force)
    for mark, lines in (("-", plan.goes), ("stays:", plan.stays)):
        for line in lines:
            say(f"  {mark} {line}")
    if not yes and not confirmed(f"Delete {plan.name}?"):
        say("nothing was deleted")
        raise typer.Exit(1)
    done = deletion.delete(place, plan, reason=reason, say=say)
    for line in done.stays:
        say(f"! {line}")
    say(f"✓ {done.name} is deleted" + (
        f"; its record says so at {done.commit[:10]}, {done.pushed}" if done.commit else "")
        + (f": {done.reason}" if done.reason else ""))


def confirmed(question: str) -> bool:
    """Ask a person; no answer at all means no."""
    try:
        return typer.confirm(question)
    except typer.Abort:
        say("")
        return False


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

    from ftzard.terminal import labelling_view
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
    """Make a version the champion by hand. The champion before becomes previous."""
    from ftzard.registered import promotion
    from ftzard.workspace import find

    show_promotion(promotion.promote(find(workspace), version, reason=reason, who=person, say=say))


@app.command()
def rollback(
    reason: Annotated[str | None, typer.Option(help="Why; it is kept.")] = None,
    person: Annotated[str | None, typer.Option("--as", help="Who decides; default: you.")] = None,
    workspace: InWorkspace = None,
) -> None:
    """Make the previous champion the champion again."""
    from ftzard.registered import promotion
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
    """Serve Dagster with its sensors, and MLflow. On this workspace, until Ctrl-C."""
    from ftzard.running import services
    from ftzard.workspace import find

    place = find(workspace)
    commands, addresses = {}, {}
    if only not in (None, "dagster", "mlflow"):
        raise FtzardError(f"--only is '{only}'; expected dagster or mlflow.")
    if only != "mlflow":
        commands["daemon"] = services.daemon(place)
        commands["webserver"] = services.webserver(place, host, services.free_port(host, port))
        addresses["Dagster"] = (host, port)
    elsewhere = place.config().tracking.server
    if only != "dagster" and elsewhere is not None:
        say(f"MLflow   {elsewhere} (tracking.uri); it is not started here")
    elif only != "dagster":
        commands["mlflow"] = services.mlflow(place, host, services.free_port(host, mlflow_port))
        addresses["MLflow"] = (host, mlflow_port)
    if not commands:
        return
    with services.serving(place, commands) as started:
        for name, (where, number) in addresses.items():
            process = started["webserver" if name == "Dagster" else "mlflow"]
            services.wait_for_answer(where, number, name, process)
            say(f"{name:<8} http://{where}:{number}")
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


mlflow_user = typer.Typer(no_args_is_help=True, rich_markup_mode=None,
                          help="Make and change users of a team's MLflow server.")
app.add_typer(mlflow_user, name="mlflow-user")
OnServer = Annotated[str | None, typer.Option(
    help="Address of the server; default: tracking.uri of the workspace, else this machine.")]
AsUser = Annotated[str | None, typer.Option(
    "--as", help="Who does it; default: the administrator.")]


@mlflow_user.command("add")
def mlflow_user_add(
    name: Annotated[str, typer.Argument(help="The new user's name.")],
    server: OnServer = None, person: AsUser = None,
) -> None:
    """Make a user; the password is asked, or taken from FTZARD_NEW_PASSWORD."""
    from ftzard.team import users as team_users
    from ftzard.tracking import users

    login = team_users.login(server, person)
    users.add(login, name, team_users.new_password(name))
    say(f"✓ {name} may log in at {login.uri}: tracking.uri={login.uri} in ftzard.yaml, "
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in .env")


@mlflow_user.command("password")
def mlflow_user_password(
    name: Annotated[str, typer.Argument(help="Whose password.")],
    server: OnServer = None, person: AsUser = None,
) -> None:
    """Change a password, in .env as well; it is asked, or taken from FTZARD_NEW_PASSWORD."""
    from ftzard.team import users as team_users
    from ftzard.tracking import users

    outside = dict(os.environ)
    login = team_users.login(server, person)
    password = team_users.new_password(name)
    users.set_password(login, name, password)
    say(f"✓ {name} has another password at {login.uri}")
    for line in team_users.mend_logins(name, login.uri, password, outside):
        say(line)


@mlflow_user.command("list")
def mlflow_user_list(
    server: OnServer = None, person: AsUser = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the users, and what each may do."""
    from ftzard.team import users as team_users
    from ftzard.tracking import users

    found = users.listing(team_users.login(server, person))
    if as_json:
        say(json.dumps([asdict(user) for user in found], indent=1))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("user", "may"):
        table.add_column(column, overflow="fold")
    for user in found:
        everything = ["everything: administrator"] if user.administrator else []
        table.add_row(user.name, "\n".join([*everything, *map(str, user.grants)]) or "-")
    show_whole(table)


@mlflow_user.command("delete")
def mlflow_user_delete(
    name: Annotated[str, typer.Argument(help="Who goes.")],
    heir: Annotated[str | None, typer.Option(
        "--give-to", help="A user who is to manage what they manage.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    server: OnServer = None, person: AsUser = None,
) -> None:
    """Delete a user; the experiments and models they have made stay, for an heir or an
    administrator."""
    from ftzard.team import users as team_users
    from ftzard.tracking import users

    login = team_users.login(server, person)
    user = users.of(login, name)
    if heir is not None:
        users.of(login, heir)
    for owned in user.owns:
        say(f"  stays: {owned.kind} {owned.name}, "
            + (f"managed by {heir}" if heir else "for administrators and whom they grant it"))
    if not yes and not confirmed(f"Delete {name} at {login.uri}?"):
        say("nothing was deleted")
        raise typer.Exit(1)
    for owned in user.owns if heir else ():
        if owned.target is not None:
            users.grant(login, heir, **owned.target, permission="manage")
    users.delete(login, name)
    say(f"✓ {name} is deleted at {login.uri}, and may not log in any more")
    if user.owns and not heir:
        target = next((o.target for o in user.owns if o.target), None)
        if target is not None:
            (option, value), = target.items()
            say(f"  ftzard mlflow-user grant NAME --{option} {value} --permission manage gives "
                "one to somebody else")


@mlflow_user.command("grant")
def mlflow_user_grant(
    name: Annotated[str, typer.Argument(help="Who gets it.")],
    experiment: Annotated[str | None, typer.Option(help="An experiment.")] = None,
    model: Annotated[str | None, typer.Option(help="A registered model.")] = None,
    permission: Annotated[str, typer.Option(
        help="read; edit: record runs; manage: move aliases and delete, too; none.")] = "edit",
    server: OnServer = None, person: AsUser = None,
) -> None:
    """Give a user access to someone else's experiment or registered model."""
    from ftzard.team import users as team_users
    from ftzard.tracking import users

    login = team_users.login(server, person)
    users.grant(login, name, experiment=experiment, model=model, permission=permission)
    say(f"✓ {name}: {permission} on {experiment or model} at {login.uri}")


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


@app.command()
def push(workspace: InWorkspace = None) -> None:
    """Send what is not pushed yet: data first, then commits."""
    from ftzard.history import lineage
    from ftzard.versioning.publish import push as send
    from ftzard.workspace import find

    place = find(workspace)
    tracking = lineage.store(place, place.config())
    if tracking is not None:
        from ftzard.registered.promotion import complete

        complete(place, tracking, say)  # a decision is never sent half done
    state, reason = send(place.root, say)
    say(state + (f": {reason}" if reason else ""))
    if reason:
        raise typer.Exit(1)
    if tracking is not None:
        from ftzard.notebooks.versions import settle

        settle(place, tracking)


def show_whole(what) -> None:
    """Print a table or a tree with nothing cut off, folded where a terminal is too narrow."""
    Terminal(highlight=False, markup=False, emoji=False,
             width=None if out.is_terminal else 10_000).print(what)


@app.command()
def history(
    artifact: Annotated[str | None, typer.Argument(
        help="Its name (cleaned, delivery, adapter, …) or its path; default: all.")] = None,
    workspace: InWorkspace = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show the versions of an artifact. When, how large, by which run, in which models."""
    from ftzard.history import lineage
    from ftzard.terminal import shown
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
    """Show what a model is made of. Rows, code, config, base, parents, runs and notebooks."""
    from ftzard.history import lineage
    from ftzard.terminal import shown
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
    """Bring artifacts of an earlier version back. From the cache or the remote."""
    from ftzard.history import restore
    from ftzard.terminal import shown
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
    """Say what is wrong with a workspace and what mends it. With --fix, mend it."""
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
    """Train a version again and say whether it comes out equal. From its record alone."""
    from ftzard.history.reproduce import reproduce as again
    from ftzard.workspace import find

    place = find(workspace)
    name, _, number = model.rpartition("@")
    if not number.isdigit():
        raise FtzardError(f"'{model}' names no version; expected MODEL@VERSION, as in "
                          f"{place.config().tracking.registered_model}@1.")
    found = again(place, name or place.config().tracking.registered_model, int(number), say)
    for line in found.differences:
        say(f"  {line}")
    right = (f"{found.accuracy:.1%} of" if found.accuracy is not None
             else f"loss {found.loss:.3f} on")
    say(f"{'✓ equal' if found.equal else '✗ not equal'}: {found.model}, weights "
        f"{found.weights[:12]}, {right} {found.test_rows:,} test rows")
    if not found.equal:
        raise typer.Exit(1)


@app.command()
def config(
    overrides: Annotated[list[str] | None, typer.Argument(help="hydra overrides.")] = None,
    workspace: InWorkspace = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show the config that a run would get. With the source of each value."""
    from ftzard.config import listing
    from ftzard.workspace import find

    resolved = find(workspace).resolve({"overrides": overrides or []})
    say(json.dumps(listing.to_dict(resolved), indent=1) if as_json else listing.as_yaml(resolved))


@app.command()
def plan(
    job: Annotated[str, typer.Argument(help="One of: " + ", ".join(JOBS))],
    overrides: Annotated[list[str] | None, typer.Argument(help="hydra overrides.")] = None,
    workspace: InWorkspace = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say what a job would take, and whether it fits. Before it runs: rows, steps, memory, time."""
    from ftzard.planning import plan
    from ftzard.workspace import find

    told = plan.plan(find(workspace), job_named(job), {"overrides": overrides or []})
    for line in [json.dumps(told.to_dict(), indent=1)] if as_json else plan.lines(told):
        say(line)


def main() -> None:
    """Run the command line; a refusal is one sentence and exit code 1, Ctrl-C or a
    termination exit code 130."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    gc.set_threshold(100_000)  # most commands import more than they compute, and import no rubbish
    output.make_tolerant()
    try:
        require_text(sys.argv[1:])
        code = app(standalone_mode=False)
        if code == 130:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except FtzardError as error:
        complain(f"✗ {error}")
        sys.exit(1)
    except (KeyboardInterrupt, typer.Abort):
        complain("\ninterrupted; what was running has been ended")
        sys.exit(130)
    except BrokenPipeError:
        output.drop()
        sys.exit(0)
    except SystemExit:  # typer ends so when the reader of its help has left
        if not output.reader_left():
            raise
        output.drop()
        sys.exit(0)
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            error.show()  # a usage error of the command line itself
            sys.exit(error.exit_code)
        complain(f"✗ {described(error)}")
        sys.exit(1)


def require_text(arguments: list[str]) -> None:
    """Raise FtzardError for an argument that is no text, as a file's name of another encoding."""
    for number, argument in enumerate(arguments, 1):
        if any("\ud800" <= letter <= "\udfff" for letter in argument):
            raise FtzardError(f"argument {number}, {os.fsencode(argument)!r}, is not UTF-8; a file "
                              "or folder of that name has to be renamed, a text to be converted.")


def complain(line: str) -> None:
    """Print a line on standard error, if there is one that somebody reads."""
    with contextlib.suppress(OSError):
        if sys.stderr is not None:
            print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
