"""Commands on a workspace: init, demo, status, doctor, config."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ftzard.cli.arguments import A_PATH, AsJson, InWorkspace
from ftzard.cli.layout import Column, Table
from ftzard.cli.printing import TONES, say, say_data, say_value, show_whole
from ftzard.config.schema import DEFAULT_TASK
from ftzard.tasks.base import task_names

app = typer.Typer(rich_markup_mode=None)


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
        help=f"{', '.join(task_names())}.")] = DEFAULT_TASK,
    sample: Annotated[bool, typer.Option(
        "--sample", help="With the task's sample data, to try a round.")] = False,
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
    from ftzard import api
    from ftzard.orchestration import create_workspace

    if data is None and not sample and (updated := create_workspace.update_notebooks(folder)):
        for line in updated:
            say(line)
        return
    workspace = api.create_workspace(
        folder, task=task, data=data, text=text, label=label, input=about, messages=messages,
        ignore=ignore or (), single_label=single_label, sample=sample, encoding=encoding,
        delimiter=delimiter, quoting=quoting, say=say, git_remote=git_remote,
        dvc_remote=dvc_remote)
    if data is not None:
        from ftzard.steps import first_look

        for line in first_look.lines(workspace.paths):
            say(line)
    say(f"✓ {workspace.root} is a workspace; its config is {workspace.root / 'ftzard.yaml'}")
    say(f"  train:  ftzard run training_pipeline_job -w {shlex.quote(str(folder))}")
    if sample:
        say(f"  then:   drop batches of {Path(folder, 'data', 'sample')} into its data/incoming")
    say(f"  look:   ftzard ui -w {shlex.quote(str(folder))}")


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder of the demo.", **A_PATH)] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of training.")] = 0,
) -> None:
    """Run three rounds on sample data, in a fresh workspace."""
    from ftzard.cli import demo as story

    story.run(folder, seed=seed, say=say, table=show_whole)


@app.command()
def status(
    workspace: InWorkspace = None,
    as_json: AsJson = False,
) -> None:
    """Show models, steps, rows to label and what is not pushed."""
    from ftzard import api
    from ftzard.evaluation import metric_info

    state = api.open_workspace(workspace).status()
    if as_json:
        say_value(state)
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
        right = f", {metric_info.sentence(scores)}" if scores else ""
        if model["apart"]:
            right += f" (other rows than the others': {model['measured_on']}; {model['apart']})"
        say(f"{role:<10} {model['name']}@{model['version']}{right}, base {model['base_model']}, "
            f"data {(model['data_version'] or 'none')[:10]}{', a trial' * model['trial']}")
    if state["labels_not_known"]:
        say(f"new labels {', '.join(state['labels_not_known'])}: data.labels names them and the "
            "champion does not know them; a retraining on rows of them adds them")
    table = Table((
        Column("step"), Column("runs", right=True), Column("last state", tone=TONES.get),
        Column("at (UTC)", rank=1), Column("seconds", right=True, rank=2)))
    for name, step in state["steps"].items():
        table.add_row(name, str(step["runs"]), step["state"] or "-",
                      (step["time"] or "-").removesuffix("+00:00"), str(step["seconds"] or "-"))
    show_whole(table)
    say(f"rules of identity: version {state['identity']}")
    say(f"waiting for labels: {state['rows_waiting_for_labels']} rows")
    if state["raw_files_waiting"]:
        names = state["raw_files_waiting"]
        more = f" and {len(names) - 20:,} more" if len(names) > 20 else ""
        say(f"waiting to be trained on: {', '.join(names[:20])}{more} in data/raw_incoming")
    for folder, tally in state["dropped"].items():
        if tally["sentence"]:
            say(f"files in data/{folder}: {tally['sentence']}")
    if state["not_taken"]:
        more = f" and {len(state['not_taken']) - 5} more" if len(state["not_taken"]) > 5 else ""
        say(f"never taken: {'; '.join(state['not_taken'][:5])}{more}")
    if state["drift"]:
        say(f"drift of {state['drift']['called']}: {state['drift']['sentence']}")
    for job in state["cluster"]:
        say(f"cluster: {job['sentence']}")
    if state["estimate"]:
        say(f"accuracy of {state['estimate']['called']}: {state['estimate']['sentence']}")
    if state["next_labels"]:
        say(f"next labels: {state['next_labels']['sentence']}")
    if state["error_budget"]:
        say(f"error budget: {state['error_budget']['sentence']}")
    local = state["commits_not_pushed"]
    say(f"not pushed: {len(local)} commit{'' if len(local) == 1 else 's'}"
        + (f"; {state['not_pushed_reason']}" if local and state["not_pushed_reason"] else ""))
    if state["code_not_committed"]:
        say("own code in no commit: " + ", ".join(
            f"{path} ({how})" for path, how in state["code_not_committed"].items()))


@app.command()
def doctor(
    workspace: InWorkspace = None,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what loses nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with a workspace and what mends it. With --fix, mend it."""
    from ftzard import doctor as doctors
    from ftzard.workspace.workspace import find

    place, lines = find(workspace), []
    if fix:
        findings = doctors.cure(place, lines.append if as_json else say)
    else:
        findings = doctors.examine(place)
    if as_json:
        say_value({"mended": lines, "findings": [f.to_dict() for f in findings]})
    else:
        for line in doctors.lines(findings):
            say(line)
    if any(finding.state == doctors.WRONG for finding in findings):
        raise typer.Exit(1)


@app.command()
def config(
    overrides: Annotated[list[str] | None, typer.Argument(help="hydra overrides.")] = None,
    workspace: InWorkspace = None,
    as_json: AsJson = False,
) -> None:
    """Show the config that a run would get. With the source of each value."""
    from ftzard.config import listing
    from ftzard.workspace.workspace import find

    resolved = find(workspace).resolve({"overrides": overrides or []})
    if as_json:
        say_value(listing.to_dict(resolved))
    else:
        say_data(listing.as_yaml(resolved))
