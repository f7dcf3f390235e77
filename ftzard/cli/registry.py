"""Commands on registered models: list, show, tag, delete, promote, and the gate's decision."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from ftzard.cli.arguments import AsJson, InWorkspace, Which, confirmed
from ftzard.cli.printing import say, say_data, say_value, show_whole, telling
from ftzard.errors import FtzardError

if TYPE_CHECKING:
    from ftzard.registry.gate_decision import GateDecision
    from ftzard.workspace.workspace import Workspace

app = typer.Typer(rich_markup_mode=None)
models = typer.Typer(no_args_is_help=True, rich_markup_mode=None,
                     help="The registered models: list, show, tag, delete.")
app.add_typer(models, name="models")


@models.command("list")
def models_list(
    name: Annotated[str | None, typer.Argument(help="One model; default: all.")] = None,
    workspace: InWorkspace = None,
    as_json: AsJson = False,
) -> None:
    """List the versions of registered models with aliases, scores, base, data and size."""
    from dataclasses import asdict

    from ftzard import api
    from ftzard.cli import model_tables

    lines = [asdict(version) for version in api.open_workspace(workspace).versions(name)]
    if as_json:
        say_value(lines)
    elif not lines:
        say("no model is registered yet; 'ftzard run training_pipeline_job' registers the first")
    else:
        show_whole(model_tables.list_table(lines))


@models.command("show")
def models_show(
    model: Which,
    workspace: InWorkspace = None,
    as_json: AsJson = False,
) -> None:
    """Show a version: aliases, tags, metrics, data versions, base, size, run."""
    from ftzard import api
    from ftzard.cli import model_tables

    description = api.open_workspace(workspace).describe(model)
    if as_json:
        say_value(description)
    else:
        show_whole(model_tables.model_tree(description))


@models.command("tag")
def models_tag(
    model: Which,
    pairs: Annotated[list[str], typer.Argument(
        metavar="KEY=VALUE…", help="Tags to set; KEY= takes one away.")],
    workspace: InWorkspace = None,
    as_json: AsJson = False,
) -> None:
    """Set or take away tags of a version."""
    from ftzard.registry import lookup
    from ftzard.workspace.workspace import find

    tags = lookup.parsed_tags(pairs)
    version = lookup.set_tags(find(workspace), model, tags)
    if as_json:
        say_value({"model": version.name, "version": version.number, "changed": tags})
        return
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
    from ftzard.registry import delete
    from ftzard.workspace.workspace import find

    place = find(workspace)
    plan = delete.planned(place, model, force=force)
    for mark, lines in (("-", plan.goes), ("stays:", plan.stays)):
        for line in lines:
            say(f"  {mark} {line}")
    if not yes and not confirmed(f"Delete {plan.name}?"):
        say("nothing was deleted")
        raise typer.Exit(1)
    done = delete.delete(place, plan, reason=reason, say=say)
    for line in done.stays:
        say(f"! {line}")
    say(f"✓ {done.name} is deleted" + (
        f"; its record says so at {done.commit[:10]}, {done.pushed}" if done.commit else "")
        + (f": {done.reason}" if done.reason else ""))


@app.command()
def promote(
    version: Annotated[int, typer.Argument(help="Number of the version.")],
    reason: Annotated[str, typer.Option(help="Why the gate is overruled; it is kept.")],
    person: Annotated[str | None, typer.Option("--as", help="Who decides; default: you.")] = None,
    workspace: InWorkspace = None,
    as_json: AsJson = False,
) -> None:
    """Make a version the champion by hand. The champion before becomes previous."""
    from ftzard import api

    show_promotion(api.open_workspace(workspace).promote(
        version, reason=reason, person=person, say=telling(as_json)), as_json)


@app.command()
def rollback(
    reason: Annotated[str | None, typer.Option(help="Why; it is kept.")] = None,
    person: Annotated[str | None, typer.Option("--as", help="Who decides; default: you.")] = None,
    workspace: InWorkspace = None,
    as_json: AsJson = False,
) -> None:
    """Make the previous champion the champion again."""
    from ftzard import api

    show_promotion(api.open_workspace(workspace).rollback(
        reason=reason, person=person, say=telling(as_json)), as_json)


def show_promotion(done, as_json: bool) -> None:
    """Print the result of a manual promotion."""
    if as_json:
        say_value({"champion": str(done.champion), "previous": done.before and str(done.before),
                   "commit": done.commit, "pushed": done.pushed == "pushed",
                   "not_pushed_reason": done.reason})
        return
    before = f", {done.before} is previous" if done.before else ""
    say(f"✓ {done.champion} is champion{before}; on record at {done.commit[:10]}, {done.pushed}"
        + (f": {done.reason}" if done.reason else ""))


@app.command()
def gate(
    as_markdown: Annotated[bool, typer.Option(
        "--markdown", help="As Markdown, for a comment or a build's summary.")] = False,
    workflow: Annotated[bool, typer.Option(
        "--workflow", help="Print a GitHub workflow for the workspace instead.")] = False,
    workspace: InWorkspace = None,
    as_json: AsJson = False,
) -> None:
    """Decide on the newest version, for a build server. A decision that was made is returned.

    The exit code is 0 for a promotion, 10 for a refusal and 20 where the rows cannot tell."""
    from ftzard.workspace.workspace import find

    if as_json + as_markdown + workflow > 1:
        raise FtzardError("--json, --markdown and --workflow exclude each other; give one.")
    if workflow:
        from ftzard.orchestration import ci_workflow

        say_data(ci_workflow.text().rstrip("\n"))
        return
    from ftzard.registry import gate_decision

    place = find(workspace)
    decided = gate_decision.decision(place)
    if decided is None:
        decided = _decided_now(place, telling(True))
    if as_json:
        say_value(decided.to_dict())
    elif as_markdown:
        say_data(decided.markdown().rstrip("\n"))
    else:
        for line in decided.lines():
            say(line)
    raise typer.Exit(decided.exit_code)


def _decided_now(place: "Workspace", tell: Callable[[str], object]) -> "GateDecision":
    """Let evaluation_job decide on the newest version; raises FtzardError if it cannot."""
    from ftzard import api
    from ftzard.registry import gate_decision

    name, number, _ = gate_decision.newest(place)
    tell(f"{name}@{number} has no decision yet; evaluation_job makes it")
    outcome = api.open_workspace(place.root).run("evaluation_job", check=False, say=tell)
    decided = gate_decision.decision(place)
    if decided is None:
        raise FtzardError(f"{name}@{number} could not be judged: "
                          f"{outcome.failure or 'evaluation_job made no decision'}")
    return decided
