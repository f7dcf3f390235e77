"""Commands on the users of a team's MLflow server."""

import os
from dataclasses import asdict
from typing import Annotated

import typer

from ftzard.cli.arguments import AsJson, confirmed
from ftzard.cli.layout import Column, Table
from ftzard.cli.printing import say, say_value, show_whole

app = typer.Typer(rich_markup_mode=None)
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
    from ftzard.orchestration import mlflow_users as team_users
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
    from ftzard.orchestration import mlflow_users as team_users
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
    as_json: AsJson = False,
) -> None:
    """List the users, and what each may do."""
    from ftzard.orchestration import mlflow_users as team_users
    from ftzard.tracking import users

    listed = users.listing(team_users.login(server, person))
    if as_json:
        say_value([asdict(user) for user in listed])
        return
    table = Table((Column("user"), Column("may", prose=True)))
    for user in listed:
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
    from ftzard.orchestration import mlflow_users as team_users
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
    from ftzard.orchestration import mlflow_users as team_users
    from ftzard.tracking import users

    login = team_users.login(server, person)
    users.grant(login, name, experiment=experiment, model=model, permission=permission)
    say(f"✓ {name}: {permission} on {experiment or model} at {login.uri}")
