"""Commands on the versions of data and models: push, history, lineage, restore, reproduce."""

from dataclasses import asdict
from typing import Annotated

import typer

from ftzard.cli.arguments import AsJson, InWorkspace
from ftzard.cli.printing import say, say_value, show_whole, telling
from ftzard.errors import FtzardError

app = typer.Typer(rich_markup_mode=None)


@app.command()
def push(workspace: InWorkspace = None, as_json: AsJson = False) -> None:
    """Send what is not pushed yet: data first, then commits."""
    from ftzard.tracking import workspace_store
    from ftzard.versioning.publish import push as send
    from ftzard.workspace.workspace import find

    place = find(workspace)
    tracking = workspace_store.store(place, place.config())
    if tracking is not None:
        from ftzard.registry.promote import complete

        complete(place, tracking, telling(as_json))  # a decision is never sent half done
    state, reason = send(place.root, telling(as_json))
    if as_json:
        say_value({"pushed": not reason, "reason": reason})
    else:
        say(state + (f": {reason}" if reason else ""))
    if reason:
        raise typer.Exit(1)
    if tracking is not None:
        from ftzard.steps.versioning import sync_push_state

        sync_push_state(place, tracking)


@app.command()
def history(
    artifact: Annotated[str | None, typer.Argument(
        help="Its name (cleaned, delivery, adapter, …) or its path; default: all.")] = None,
    workspace: InWorkspace = None,
    as_json: AsJson = False,
) -> None:
    """Show the versions of an artifact. When, how large, by which run, in which models."""
    from ftzard import api
    from ftzard.cli import tables
    from ftzard.versioning.versions import why_not_pushed

    place = api.open_workspace(workspace)
    versions = place.history(artifact)
    if as_json:
        say_value(versions)
        return
    show_whole(tables.history_table(versions))
    if not all(version["pushed"] for version in versions):
        say(f"not pushed: {why_not_pushed(place.root)}")


@app.command()
def lineage(
    model: Annotated[str | None, typer.Argument(
        help="MODEL or MODEL@VERSION; default: the champion.")] = None,
    workspace: InWorkspace = None,
    as_json: AsJson = False,
) -> None:
    """Show what a model is made of. Rows, code, config, base, parents, runs and notebooks."""
    from ftzard import api
    from ftzard.cli import tables

    description = api.open_workspace(workspace).lineage(model)
    if as_json:
        say_value(description)
    else:
        show_whole(tables.lineage_tree(description))


@app.command()
def restore(
    which: Annotated[str, typer.Argument(help="A commit, or the id of an MLflow run.")],
    artifacts: Annotated[list[str] | None, typer.Argument(
        help="Names or paths of artifacts; default: all there were.")] = None,
    workspace: InWorkspace = None,
    as_json: AsJson = False,
) -> None:
    """Bring artifacts of an earlier version back. From the cache or the remote."""
    from ftzard.cli import tables
    from ftzard.registry import restore
    from ftzard.workspace.workspace import find

    done = restore.restore(find(workspace), which, artifacts or (), say=telling(as_json))
    if as_json:
        say_value(done)
        return
    if not done["files"]:
        say(f"nothing to restore: everything is as it was at {which}")
        return
    show_whole(tables.restored_table(done["files"]))
    say(f"committed {done['commit'][:10]}; it goes out with the next run, or with 'ftzard push'"
        if done["commit"] else "nothing to commit: git had these versions, their data was away")


@app.command()
def reproduce(
    model: Annotated[str, typer.Argument(help="MODEL@VERSION, or a VERSION of this workspace's "
                                              "model.")],
    workspace: InWorkspace = None,
    without: Annotated[str | None, typer.Option(
        "--without", metavar="FACTOR=VALUE", help="Train without these rows, and compare: "
        "batch=FILE, labelled_by=PERSON, source=NAME or label=LABEL.")] = None,
    without_each: Annotated[bool, typer.Option(
        "--without-each", help="A table of all batches and people: which help or harm.")] = False,
    minutes: Annotated[float | None, typer.Option(
        "--minutes", min=0, help="With --without: the longest it may take (default 30).")] = None,
    as_json: AsJson = False,
) -> None:
    """Train a version again and say whether it comes out equal. From its record alone."""
    from ftzard.steps.reproduce import reproduce as again
    from ftzard.workspace.workspace import find

    place = find(workspace)
    name, _, number = model.rpartition("@")
    if not number.isdigit():
        raise FtzardError(f"'{model}' names no version; expected MODEL@VERSION, as in "
                          f"{place.config().tracking.registered_model}@1.")
    if without and without_each:
        raise FtzardError("--without has no effect beside --without-each; give one of them.")
    if minutes is not None and not (without or without_each):
        raise FtzardError("--minutes has no effect without --without or --without-each; leave it "
                          "out.")
    if without or without_each:
        from ftzard.cli import tables
        from ftzard.steps import counterfactual

        asked = {"say": telling(as_json), **({} if minutes is None else {"minutes": minutes})}
        name = name or place.config().tracking.registered_model
        result = (counterfactual.without_each(place, name, int(number), **asked) if without_each
                  else [counterfactual.without(place, name, int(number), without, **asked)])
        if as_json:
            say_value([asdict(one) for one in result] if without_each else asdict(result[0]))
        elif without_each:
            show_whole(tables.counterfactual_table(result))
            say("below zero: the model is worse for these rows. The intervals hold together.")
        else:
            say(result[0].sentence)
        return
    made = again(place, name or place.config().tracking.registered_model, int(number),
                         telling(as_json))
    if as_json:
        say_value(asdict(made))
        if not made.equal and made.rounding is None:
            raise typer.Exit(1)
        return
    for line in made.differences:
        say(f"  {line}")
    right = (f"{made.accuracy:.1%} of" if made.accuracy is not None
             else f"loss {made.loss:.3f} on")
    if made.equal:
        verdict = "✓ equal"
    elif made.rounding is not None:
        verdict = f"✓ equal up to rounding on another processor (by {made.rounding:.0e} at most)"
    else:
        verdict = "✗ not equal"
    say(f"{verdict}: {made.model}, weights {made.weights[:12]}, {right} {made.test_rows:,} test "
        "rows")
    if verdict.startswith("✗"):
        raise typer.Exit(1)
