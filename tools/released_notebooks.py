"""Add the notebooks of this checkout and of its git history to the list of released ones.

By that list a workspace's copy is known as never edited, and is replaced by the installed
release's. Run it whenever a packaged notebook has changed:

    python tools/released_notebooks.py
"""

import subprocess
from pathlib import Path

from ftzard.core.notebook_hash import notebook_hash, notebook_text_hash
from ftzard.workspace.notebook_copies import NOTEBOOKS, RELEASED

ROOT = Path(__file__).parents[1]
HEADER = ("# Hashes of the packaged notebooks of all releases (ftzard.core.notebook_hash).\n"
          "# Written by tools/released_notebooks.py; lines are only ever added.\n")


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True,
                          text=True).stdout


def in_history() -> set[tuple[str, str]]:
    """Return (hash, file name) of every version of a packaged notebook in git's history."""
    versions = set()
    for line in git("log", "--all", "-m", "--format=", "--raw", "--no-abbrev", "--", "*.ipynb"
                    ).splitlines():
        fields, path = line.split("\t")[0].split(), line.split("\t")[-1]
        blob = fields[3]
        if set(blob) != {"0"}:
            versions.add((notebook_text_hash(git("cat-file", "blob", blob)), Path(path).name))
    return versions


def main() -> None:
    listed = set()
    if RELEASED.is_file():
        listed = {tuple(line.split()) for line in RELEASED.read_text(encoding="utf-8").splitlines()
                  if not line.startswith("#")}
    packaged = {(notebook_hash(path), path.name) for path in NOTEBOOKS.rglob("*.ipynb")}
    lines = sorted(listed | packaged | in_history(), key=lambda entry: (entry[1], entry[0]))
    RELEASED.write_text(HEADER + "".join(f"{digest} {name}\n" for digest, name in lines),
                        encoding="utf-8")
    print(f"{len(lines)} notebooks in {RELEASED.relative_to(ROOT)}, "
          f"{len(lines) - len(listed)} of them new")


if __name__ == "__main__":
    main()
