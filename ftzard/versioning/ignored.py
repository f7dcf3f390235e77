"""Git's ignore rules in a workspace: data is ignored, `.dvc` files and records are not.

The folders' own .gitignore files say so. A user's rule in a .gitignore above them, in
.git/info/exclude or in the file of core.excludesFile may hide the folders nevertheless: git then
reads none of their files, and DVC refuses to write there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ftzard.errors import VersioningError
from ftzard.versioning import git as _git
from ftzard.versioning.git import attempt

#: Lines of a workspace's own .gitignore that go over the rules of every file that is not nearer.
UNIGNORED = ("!/data", "!/models", "!/notebooks", "!/notebooks/*.ipynb", "!/config",
             "!/config/**", "!/custom", "!/custom/*.py", "!/.dvc", "!/.dvc/*", "!/.dvcignore",
             "!/.gitignore", "!/ftzard.yaml")
#: Where versions are kept, for example: what git must see, and what it must not.
VISIBLE = ("data/raw/file.csv.dvc", "data/cleaned/cleaned.parquet.dvc",
           "data/labelling/batch.csv.dvc", "models/Model/1.zip.dvc", "models/Model/1.yaml",
           ".dvc/config", "ftzard.yaml", "notebooks/Notebook.ipynb")
HIDDEN = ("data/raw/file.csv", "data/cleaned/cleaned.parquet", "models/Model/1.zip")


@dataclass(frozen=True)
class Rule:
    """A rule by which git ignores a path: its pattern, file and line."""

    path: str
    file: str
    line: str
    pattern: str


def rules(root: Path, paths: Sequence[str]) -> list[Rule]:
    """Return the deciding rule of each ignored path."""
    result = attempt(root, "check-ignore", "--no-index", "--verbose", "-z", "--stdin",
                     input="".join(f"{path}\0" for path in paths))
    if result.returncode > 1:
        raise VersioningError(_git.failure(root, result))
    fields = result.stdout.split("\0")
    matches = [Rule(path, file, line, pattern) for file, line, pattern, path
               in zip(fields[0::4], fields[1::4], fields[2::4], fields[3::4], strict=False)]
    return [rule for rule in matches if not rule.pattern.startswith("!")]


def obstacle(root: Path, paths: Sequence[str] = VISIBLE) -> Rule | None:
    """Return a rule that hides files of a workspace that git must see, if there is one."""
    return next(iter(rules(root, paths)), None)


def goes_over(rule: Rule) -> bool:
    """Return whether lines at the end of the workspace's own .gitignore override a rule."""
    folder = Path(rule.file).parent
    return folder in (Path("."), Path(".git/info")) or folder.is_absolute()


def sentence(root: Path, rule: Rule) -> str:
    """Return the problem with a rule, and the lines that solve it."""
    where = f"{rule.file}, line {rule.line}"
    text = f"git ignores {rule.path} in {root} by the rule '{rule.pattern}' ({where})"
    if goes_over(rule):
        return (f"{text}, so no version could be committed there. Add to the end of "
                f"{Path(root) / '.gitignore'}, each on a line of its own: {' '.join(UNIGNORED)}")
    return f"{text}, so no version could be committed there. Take that line out of it."


def require_visible(root: Path) -> None:
    """Raise VersioningError if a rule hides a workspace's versions from git."""
    rule = obstacle(root)
    if rule is not None:
        raise VersioningError(sentence(root, rule))


def require_hidden(root: Path) -> None:
    """Raise VersioningError if git would commit a workspace's data, which DVC stores."""
    hidden = {rule.path for rule in rules(root, HIDDEN)}
    for path in HIDDEN:
        if path not in hidden:
            folder = path.split("/")[0]
            raise VersioningError(
                f"git does not ignore {path} in {root}, so git and DVC would both keep the data. "
                f"Add to the end of {Path(root) / folder / '.gitignore'}, each on a line of its "
                "own: * !*/ !.gitignore !*.dvc" + (" !*.yaml" if folder == "models" else ""))
