"""`python -m ftzard.cli` is the command `ftzard`."""

from ftzard.cli import main

main()
