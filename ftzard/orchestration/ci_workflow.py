"""The GitHub workflow that runs a workspace's round on a merged file of labels."""

from pathlib import Path

FILE = Path(__file__).parent / "workflows" / "ftzard-round.yml"


def text() -> str:
    """Return the workflow's file."""
    return FILE.read_text(encoding="utf-8")
