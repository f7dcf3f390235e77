"""Create a workspace: folders, ftzard.yaml, copies of the notebooks, git, DVC, Dagster's home."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ftzard.config.schema import DEFAULT_TASK
from ftzard.core import yaml_file
from ftzard.data import reading
from ftzard.errors import ConfigError, DataError, WorkspaceError, nearest
from ftzard.orchestration import dagster_settings, init_journal
from ftzard.tasks.base import task_named, task_names
from ftzard.tasks.sample import has_sample, write_sample
from ftzard.versioning import delivery_names, setup
from ftzard.versioning.ignored import UNIGNORED, require_hidden
from ftzard.workspace import notebook_copies, workspace_names
from ftzard.workspace.workspace import MARKER, Workspace
from ftzard.workspace.workspace_folder import FOLDERS, usable_folder

DATA_IGNORE = "*\n!*/\n!.gitignore\n!*.dvc\n"
MODELS_IGNORE = DATA_IGNORE + "!*.yaml\n"
# The lines with ! go over what a user's git ignores everywhere, such as data/.
IGNORE = (".ftzard/\nreports/\n__pycache__/\n.ipynb_checkpoints/\n.env\n"
          + "".join(f"{line}\n" for line in UNIGNORED))
DVC_IGNORE = "# Nothing here is DVC's business.\n.ftzard\nreports\nnotebooks\n.venv\n"


def init(folder: Path | str, *, git_remote: Path | str | None = None,
         dvc_remote: Path | str | None = None, **options) -> Workspace:
    """Make a folder a workspace for the options of `config_for`, whole or not at all.

    Whatever fails, the folder is then as it was before, and the same call works when the reason is
    gone. Raises FtzardError.
    """
    _refuse_link_out(folder, options.get("data"))
    names = workspace_names.tracking(Path(os.path.abspath(folder)))
    return _make(folder, lambda staging: {**config_for(staging, **options), "tracking": names},
                 git_remote=git_remote, dvc_remote=dvc_remote, invent_identity=True)


def _refuse_link_out(folder: Path | str, data: Path | str | None) -> None:
    """Raise DataError for a file in the folder that is a link to one outside it.

    A file or a link elsewhere is what the person has named.
    """
    if data is None or not os.path.islink(data):
        return
    root, target = os.path.abspath(folder), os.path.realpath(data)
    if (Path(os.path.abspath(data)).is_relative_to(root)
            and not Path(target).is_relative_to(os.path.realpath(root))):
        raise DataError(f"{data} is a link to {os.readlink(data)}, which is outside {root}; name "
                        "that file itself.")


def create(root: Path, *, config: dict, git_remote: Path | str | None = None,
           dvc_remote: Path | str | None = None, invent_identity: bool = False) -> Workspace:
    """Make `root` a workspace and commit its files, or leave it as it was; return it.

    A folder that is a workspace already is refused; files of the user's own (a README, a
    .gitignore) stay as they are.

    Args:
        config: What ftzard.yaml shall say.
    """
    return _make(root, lambda staging: config, git_remote=git_remote, dvc_remote=dvc_remote,
                 invent_identity=invent_identity)


def _make(folder: Path | str, config: Callable[[Path], dict], *, git_remote: Path | str | None,
          dvc_remote: Path | str | None, invent_identity: bool) -> Workspace:
    """Make a workspace; config: called with the folder in which its files are prepared."""
    root = usable_folder(folder)
    unfinished = init_journal.recovered(root)
    if unfinished is not None:
        return _finish(unfinished, config)
    setup.require_suitable(root)
    setup.require_remotes(root, git_remote, dvc_remote)
    with init_journal.all_or_nothing(root) as journal:
        tracked = _fill(Workspace(journal.staging), config(journal.staging))
        journal.move_in(tracked, lambda paths: setup.state_before(
            root, git_remote=git_remote, dvc_remote=dvc_remote, paths=paths))
        files = setup.prepare_repository(root, git_remote=git_remote, dvc_remote=dvc_remote,
                                         invent_identity=invent_identity)
        require_hidden(root)
        journal.complete(lambda: setup.commit_first(root, [*journal.commit, *files]))
    return Workspace(root)


def _finish(journal: init_journal.Journal, config: Callable[[Path], dict]) -> Workspace:
    """Make the missing first commit of a workspace, if it is the requested one."""
    shutil.rmtree(journal.staging, ignore_errors=True)
    journal.staging.mkdir()
    wanted = _described(config(journal.staging))
    same = (journal.root / MARKER).read_text(encoding="utf-8") == wanted
    journal.complete(lambda: setup.commit_first(journal.root, journal.repository["files"]))
    if not same:
        raise WorkspaceError(f"{journal.root} is a workspace already: it has a {MARKER}.")
    return Workspace(journal.root)


def _fill(workspace: Workspace, config: dict) -> list[str]:
    """Write the files of a new workspace; return the paths of those that git tracks."""
    root = workspace.root
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    files = [
        _write(root / MARKER, _described(config)),
        _write(root / "data" / ".gitignore", DATA_IGNORE),
        _write(root / "models" / ".gitignore", MODELS_IGNORE),
        _write(root / ".dvcignore", DVC_IGNORE),
        _write(root / ".gitignore", IGNORE),
        *notebook_copies.copy_missing(workspace),
    ]
    dagster_settings.write(workspace)
    return [path.relative_to(root).as_posix() for path in files]


def update_notebooks(folder: Path | str) -> list[str]:
    """Bring the notebooks of a folder that is a workspace already up to date.

    Returns:
        A line for every copy that was written; none if all are there and as they should be, or if
        the folder is no complete workspace.

    Raises:
        WorkspaceError: for edited copies that this release cannot run.
    """
    root = Path(os.path.abspath(folder))
    try:
        complete = (root / MARKER).is_file() and not (root / init_journal.JOURNAL).is_file()
    except OSError:  # a name that cannot be one: making the workspace says why
        return []
    if not complete:
        return []
    written, outdated = notebook_copies.update(Workspace(root))
    lines = [f"✓ {path} is this release's now" for path in written]
    if outdated:
        raise WorkspaceError("\n".join([*lines, *map(str, outdated)]))
    return lines


def config_for(root: Path, *, task: str = DEFAULT_TASK, data: Path | None = None,
               sample: bool = False, encoding: str = "utf-8", delimiter: str = ",",
               quoting: str | None = None, say: Callable[[str], object] = lambda line: None,
               text: str | None = None, label: str | None = None, **options: object) -> dict:
    """Return what the ftzard.yaml of a new workspace is to say; store its data, if it brings some.

    Args:
        root: the workspace's folder.
        task: name of a task.
        data: the user's labelled file.
        sample: bring the task's sample instead.
        encoding: of the file, as are delimiter and quoting; quoting=None finds out which fits.
        delimiter: the same.
        quoting: the same.
        say: gets sentences on what was taken, and why: the quoting, the rows, the model.
        text: the file's column with the text; None takes the task's usual one.
        label: the file's column with the label; the same.
        options: what only some tasks know, as their `setup.config_for` takes it; values that are
            None, False or empty are not given.

    Raises:
        ConfigError: For options that do not go together.
        DataError: For a file that cannot be used.
    """
    if task not in task_names():
        raise ConfigError(f"--task {task} is unknown{nearest(task, task_names())}")
    setup = task_named(task).setup
    given = {name: value for name, value in options.items() if value}
    for name in given:
        if name not in setup.OPTIONS or data is None:
            which = [other for other in task_names() if name in task_named(other).setup.OPTIONS]
            raise ConfigError(f"--{name.replace('_', '-')} goes with --task {' or '.join(which)} "
                              "and --data.")
    if sample and (data is not None or not has_sample(task)):
        raise ConfigError("--sample goes without --data, and with a --task that has a sample.")
    root = Path(root).resolve()
    if (root / MARKER).exists():
        raise WorkspaceError(f"{root} is a workspace already: it has a {MARKER}.")
    if sample:
        config = setup.sample_config()
        training = write_sample(task, root / "data" / "sample")["training"]
        config["data"]["source"] = f"data/raw/{keep_delivery(root, training).name}"
        return {**config, "gate": {**config.get("gate", {}), "trial": True}}
    if data is None:
        return setup.config_for(None, {}, say)
    layout, why = reading.find_layout(data, encoding=encoding, delimiter=delimiter,
                                      quoting=quoting)
    config = setup.config_for(data, layout, say, text=text, label=label, **given)
    if why:
        say(f"quoting: {layout['quoting']} ({why})")
    config["data"]["source"] = f"data/raw/{keep_delivery(root, data).name}"
    return config


def keep_delivery(root: Path, file: Path) -> Path:
    """Store a file and its name as a delivery of a workspace; return its path."""
    stored = reading.store_raw(file, root / "data")
    delivery_names.remember(Workspace(root), stored.name.split(".", 1)[0], Path(file).name)
    return stored


def _write(path: Path, text: str) -> Path:
    if not path.exists():
        path.write_text(text, encoding="utf-8")
    return path


def _described(config: dict) -> str:
    head = ("# This workspace's config, over FTzard's own files; the Launchpad and the command\n"
            "# line go over it. `ftzard config` shows what comes out.\n")
    return head + (yaml_file.dump(config) if config else "")
