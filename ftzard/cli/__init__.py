"""The command line: parses, calls, prints. What it does stands in the modules it calls.

A module per group of commands, imported when one of its commands is asked for; `start.COMMANDS`
says which module has which command.
"""

# ruff: noqa: E402
from ftzard.core import python_settings

python_settings.apply()  # before anything is imported that a user's module could hide

from ftzard.cli.start import app, main

__all__ = ["app", "main"]
