"""The command `ftzard`: its table of commands, and its exit codes."""

import contextlib
import gc
import io
import os
import signal
import sys
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Annotated, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

import ftzard
from ftzard.cli import completion, output
from ftzard.cli.printing import complain, say, say_data, say_value
from ftzard.core.environment import QUIET
from ftzard.errors import FtzardError, described

#: Every command, in the order of the help, and the module of this package that has it.
COMMANDS = {
    "init": "workspaces",
    "run": "jobs",
    "demo": "workspaces",
    "status": "workspaces",
    "predict": "prediction",
    "compare": "prediction",
    "export": "prediction",
    "label": "labeling",
    "promote": "registry",
    "rollback": "registry",
    "gate": "registry",
    "ui": "servers",
    "mlflow-server": "servers",
    "lab": "servers",
    "push": "versions",
    "history": "versions",
    "lineage": "versions",
    "restore": "versions",
    "doctor": "workspaces",
    "reproduce": "versions",
    "config": "workspaces",
    "plan": "jobs",
    "models": "registry",
    "mlflow-user": "mlflow_users",
    "completion": "shells",
}


class Lazy(MutableMapping):
    """The commands by name; a module is imported when one of its commands is looked up."""

    def __init__(self) -> None:
        self.made: dict[str, object] = {}

    def __getitem__(self, name: str):
        if name not in self.made:
            module = import_module(f"ftzard.cli.{COMMANDS[name]}")
            self.made.update(get_group(module.app).commands)
        return self.made[name]

    def __setitem__(self, name: str, command) -> None:
        self.made[name] = command

    def __delitem__(self, name: str) -> None:
        del self.made[name]

    def __contains__(self, name: object) -> bool:
        return name in COMMANDS  # asking imports nothing

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class Commands(TyperGroup):
    """The group of all commands, each created when it is looked up."""

    def __init__(self, **settings) -> None:
        super().__init__(**{**settings, "commands": None})
        self.commands = Lazy()

    def list_commands(self, ctx) -> list[str]:
        return list(COMMANDS)


app = typer.Typer(cls=Commands, add_completion=False, no_args_is_help=True, rich_markup_mode=None,
                  pretty_exceptions_enable=False)


def show_version(asked: bool) -> None:
    """Print the version and exit, if requested."""
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


def main() -> None:
    """Run the command line; a refusal is one sentence and exit code 1, Ctrl-C, a termination or a
    terminal that was closed exit code 130."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as it is under nohup
        # By way of SIGINT, which Dagster and the kernels know what to do with.
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    gc.set_threshold(100_000)  # most commands import more than they compute, and import no rubbish
    output.make_tolerant()
    if completion.LINE in os.environ:
        complete(os.environ.pop(completion.LINE))
    try:
        require_text(sys.argv[1:])
        code = app(standalone_mode=False)
        if code == 130:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except FtzardError as error:
        refuse(str(error))
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
            if wants_json(sys.argv[1:]) and hasattr(error, "format_message"):
                refuse(error.format_message())
            else:
                errors = io.StringIO()
                error.show(errors)  # a usage error of the command line itself
                complain(errors.getvalue().rstrip("\n"))
            sys.exit(error.exit_code)
        refuse(described(error))
        sys.exit(1)


def refuse(sentence: str) -> None:
    """Print why a command failed: as text, or with --json as JSON."""
    if wants_json(sys.argv[1:]):
        with contextlib.suppress(OSError):
            say_value({"error": sentence})
    else:
        complain(f"✗ {sentence}")


def wants_json(arguments: list[str]) -> bool:
    """Return whether the output is requested as JSON, errors included."""
    options = arguments[:arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def complete(line: str) -> NoReturn:
    """Print the completions of a command line and exit; errors are not reported."""
    with contextlib.suppress(Exception):
        for candidate in completion.answer(get_command(app), line):
            say_data(candidate)
    sys.exit(0)


def require_text(arguments: list[str]) -> None:
    """Raise FtzardError for an argument that is no text, such as a file name in another encoding.
    """
    for number, argument in enumerate(arguments, 1):
        if any("\ud800" <= letter <= "\udfff" for letter in argument):
            raise FtzardError(f"argument {number}, {os.fsencode(argument)!r}, is not UTF-8; a file "
                              "or folder of that name has to be renamed, a text to be converted.")
