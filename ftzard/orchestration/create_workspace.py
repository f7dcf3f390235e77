"""Making a workspace: folders, ftzard.yaml, a copy of the notebooks, git, DVC, Dagster's home."""

import json
import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from ftzard.config.compose import compose
from ftzard.core import yaml_file
from ftzard.data import language, reading, rejection, target_checks
from ftzard.data.identity import LATEST, canonical, canonical_labels
from ftzard.data.sample import instructions as instruction_sample
from ftzard.errors import ConfigError, DataError, WorkspaceError, nearest
from ftzard.orchestration import dagster_settings, init_journal
from ftzard.tasks.instruction_tuning import instructions
from ftzard.versioning import delivery_names, setup
from ftzard.versioning.ignored import TAKEN_BACK, require_hidden
from ftzard.workspace import notebook_copies, workspace_names
from ftzard.workspace.workspace import MARKER, Workspace
from ftzard.workspace.workspace_folder import FOLDERS, usable_folder

TASKS = ("classification", "instruction_tuning")
#: The preset that own English texts begin with, where its base can be had.
PRETRAINED = "minilm"
_TWO_SPELLINGS = (
    "Write them as one in the file. Or begin without --data, name each in data.labels of "
    "ftzard.yaml, as in 'Positive: positive', and set data.source to the file.")
DATA_IGNORE = "*\n!*/\n!.gitignore\n!*.dvc\n"
MODELS_IGNORE = DATA_IGNORE + "!*.yaml\n"
# The lines with ! go over what a user's git ignores everywhere, such as data/.
IGNORE = (".ftzard/\nreports/\n__pycache__/\n.ipynb_checkpoints/\n.env\n"
          + "".join(f"{line}\n" for line in TAKEN_BACK))
DVC_IGNORE = "# Nothing here is DVC's business.\n.ftzard\nreports\nnotebooks\n.venv\n"


def init(folder: Path | str, *, git_remote: Path | str | None = None,
         dvc_remote: Path | str | None = None, **options) -> Workspace:
    """Make a folder a workspace for what `config_for` is told by `options`, whole or not at all.

    Whatever fails, the folder is then as it was before, and the same call works when the reason is
    gone. Raises FtzardError.
    """
    _refuse_link_out(folder, options.get("data"))
    names = workspace_names.tracking(Path(os.path.abspath(folder)))
    return _make(folder, lambda staging: {**config_for(staging, **options), "tracking": names},
                 git_remote=git_remote, dvc_remote=dvc_remote, invent_identity=True)


def _refuse_link_out(folder: Path | str, data: Path | str | None) -> None:
    """Raise DataError, unread, for a file in the folder that is only a link to one outside it.

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
    """Make `root` a workspace and commit what makes it one, or leave it as it was; return it.

    config: what ftzard.yaml shall say. A folder that is a workspace already is refused; files of
    the user's own (a README, a .gitignore) stay as they are.
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
        kept = _fill(Workspace(journal.staging), config(journal.staging))
        journal.move_in(kept, lambda paths: setup.state_before(
            root, git_remote=git_remote, dvc_remote=dvc_remote, paths=paths))
        files = setup.prepare_repository(root, git_remote=git_remote, dvc_remote=dvc_remote,
                                         invent_identity=invent_identity)
        require_hidden(root)
        journal.complete(lambda: setup.commit_first(root, [*journal.commit, *files]))
    return Workspace(root)


def _finish(journal: init_journal.Journal, config: Callable[[Path], dict]) -> Workspace:
    """Make the first commit of a workspace that lacks only that, if it is the one asked for."""
    shutil.rmtree(journal.staging, ignore_errors=True)
    journal.staging.mkdir()
    wanted = _described(config(journal.staging))
    same = (journal.root / MARKER).read_text(encoding="utf-8") == wanted
    journal.complete(lambda: setup.commit_first(journal.root, journal.repository["files"]))
    if not same:
        raise WorkspaceError(f"{journal.root} is a workspace already: it has a {MARKER}.")
    return Workspace(journal.root)


def _fill(workspace: Workspace, config: dict) -> list[str]:
    """Write the files of a new workspace; return the paths of those that git is to keep."""
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
    if not (root / MARKER).is_file() or (root / init_journal.JOURNAL).is_file():
        return []
    written, outdated = notebook_copies.update(Workspace(root))
    lines = [f"✓ {path} is this release's now" for path in written]
    if outdated:
        raise WorkspaceError("\n".join([*lines, *map(str, outdated)]))
    return lines


def config_for(root: Path, *, task: str = "classification", data: Path | None = None,
               text: str | None = None, label: str | None = None, about: str | None = None,
               messages: str | None = None, ignored: Sequence[str] = (),
               single_label: bool = False, sample: bool = False, encoding: str = "utf-8",
               delimiter: str = ",", quoting: str | None = None,
               say: Callable[[str], object] = lambda line: None) -> dict:
    """Return what the ftzard.yaml of a new workspace is to say; store its data, if it brings some.

    text, label, about, messages: columns of `data`, None for the usual ones of the task. ignored:
    columns of the prompt that are left out on purpose. single_label: labels that look like several
    are names. sample: bring the sample of instructions instead. quoting: None finds out which fits
    the file; say: gets sentences on what was taken, and why: the quoting, the rows with their
    labels, the model. Raises ConfigError for options that do not go together, DataError for a file
    that cannot be used.
    """
    if task not in TASKS:
        raise ConfigError(f"--task {task} is unknown{nearest(task, TASKS)}")
    told = task == "instruction_tuning"
    wrong = {"--input": about is not None and not told, "--messages": messages is not None
             and not told, "--ignore": bool(ignored) and not told,
             "--sample": sample and (not told or data is not None)}
    for option, misplaced in wrong.items():
        if misplaced:
            raise ConfigError(f"{option} goes with --task instruction_tuning"
                              f"{' and without --data' if option == '--sample' else ''}.")
    if single_label and (told or data is None):
        raise ConfigError("--single-label goes with --task classification and --data.")
    root = Path(root).resolve()
    if (root / MARKER).exists():
        raise WorkspaceError(f"{root} is a workspace already: it has a {MARKER}.")
    if sample:
        config = instruction_config(describe_sample(root))
        return {**config, "gate": {**config["gate"], "trial": True}}
    group: dict = {}
    chosen: dict = {}
    layout: dict[str, str] = {}
    if data is not None:
        layout, why = reading.find_layout(data, encoding=encoding, delimiter=delimiter,
                                          quoting=quoting)
    if data is not None and told:
        group = describe_instructions(
            data, instruction=text or "instruction", output=label or "output", input=about,
            messages=messages, ignored=ignored, **layout)
        left = instructions.not_read(
            data, [group[f"{name}_column"] for name in ("text", "input", "label", "messages")],
            ignored=ignored, **layout)
        if left:
            say(f"not read: {', '.join(left)} (filled, but no model learns from them)")
    elif data is not None:
        group, rows = describe_data(data, text or "text", label or "label",
                                    single_label=single_label, **layout)
        say(_balance(rows["label"]))
        chosen = _chosen_model(rows["text"], say)
    if data is not None:
        if why:
            say(f"quoting: {layout['quoting']} ({why})")
        group["source"] = f"data/raw/{keep_delivery(root, data).name}"
    if told:
        return instruction_config(group)
    return {"data": group, **chosen} if group else {}


def describe_data(file: Path, text: str, label: str, *, single_label: bool = False,
                  encoding: str = "utf-8", delimiter: str = ",", quoting: str = "csv"
                  ) -> tuple[dict, pd.DataFrame]:
    """Return the `data` group for a user's file: its columns, and its labels by name. And its rows
    with a label: text and label.

    Raises DataError for a missing column, for a label column with one value or with a value for
    every other row, and, without single_label, for one with several labels in a row.
    """
    written = {"encoding": encoding, "delimiter": delimiter, "quoting": quoting}
    there = reading.header(file, **written)
    _require(file, there, {"--text": text, "--label": label}, delimiter)
    rows = reading.read_raw(file, text_column=text, label_column=label, **written)
    tidied = canonical(rows["label"])
    found = tidied[tidied != ""].value_counts()
    problem = None if single_label else target_checks.problem("classification", rows["label"])
    if len(found) < 2 or len(found) > found.sum() / 2 and problem is None:
        other = _like_labels(file, there, {text, label}, written)
        named = None if other is None else shlex.quote(other)
        remedy = (f"Name the label column, as in --label {named}." if named is not None else
                  "No other column of it looks like labels: bring two labels or more, each in two "
                  "rows or more.")
        raise DataError(
            f"{file}: column '{label}' has {len(found)} different values in {found.sum()} filled "
            f"rows; expected 2 labels or more, and at most one for every two rows. {remedy}")
    if problem is not None:
        raise DataError(f"{file}, column '{label}': {problem}; or, if each of them is one name, "
                        "add --single-label.")
    try:
        names = canonical_labels(rows["label"], remedy=_TWO_SPELLINGS)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    filled = names != ""
    labels = {str(name): str(name) for name in sorted(names[filled].unique())}
    return ({"text_column": text, "label_column": label, **_written(**written),
             "labels": labels}, rows.assign(label=names)[filled])


def _balance(labels: pd.Series, most: int = 8) -> str:
    """Return a sentence on how many rows have which label, the most frequent ones first."""
    counts = labels.value_counts()
    shown = [f"{name} {count / len(labels):.0%}" for name, count in counts.head(most).items()]
    rest = f", and {len(counts) - most} more" if len(counts) > most else ""
    return (f"rows: {len(labels):,} with {len(counts)} labels: {', '.join(shown)}{rest}; the "
            f"rarest has {counts.min():,}")


def _chosen_model(texts: pd.Series, say: Callable[[str], object]) -> dict:
    """Return the choice of a pretrained base for these texts, if it suits them and can be had.

    say: gets the sentence on which model the workspace begins with, and what to take for results.
    """
    from ftzard.modeling.hub import can_be_had

    base = compose({"model": PRETRAINED}).model
    english = language.looks_english(texts)
    if english and can_be_had(base.source, base.revision):
        say(f"model: {PRETRAINED} ({base.source}, pretrained on English)")
        return {"model": PRETRAINED}
    why = (f"{base.source} cannot be had from its hub now" if english
           else "the texts do not look English")
    better = (f"model: {PRETRAINED} in ftzard.yaml once the hub is reachable, or model=local with "
              "the folder of a base" if english
              else "model=local with a base of their language, or a preset of a multilingual one")
    say(f"model: falcon_tiny, built here, which is for trying the loop: {why}. For results take "
        f"{better}.")
    return {}


def describe_instructions(file: Path, *, instruction: str, output: str, input: str | None = None,
                          messages: str | None = None, ignored: Sequence[str] = (),
                          encoding: str = "utf-8", delimiter: str = ",",
                          quoting: str = "csv") -> dict:
    """Return the `data` group for a user's file of instructions or chats: its columns.

    input, messages: None takes the columns of that name, if the file has them. ignored: columns of
    the prompt that are left out on purpose. Raises DataError for a missing column, for a filled one
    that would be lost, or for a file of which no row can be used.
    """
    written = {"encoding": encoding, "delimiter": delimiter, "quoting": quoting}
    there = reading.header(file, **written)
    columns = {"text_column": instruction, "input_column": input or ("input" if "input" in there
                                                                     else None),
               "label_column": output,
               "messages_column": messages or ("messages" if "messages" in there else None)}
    named = {"--text": instruction, "--label": output, "--input": columns["input_column"]}
    if columns["messages_column"] in there and instruction not in there:
        named = {}  # chats alone
    if messages is not None:
        named = {"--messages": messages, **named}
    _require(file, there, named, delimiter, nested=lambda: _nested(file, there, written))
    for column in ignored:
        if column not in there or column in columns.values():
            raise ConfigError(f"--ignore {column} names no column of {file} that could be left out"
                              f"{nearest(column, set(there) - set(columns.values()))}")
    rows = instructions.read(
        file, instruction_column=instruction, output_column=output, **written,
        input_column=columns["input_column"], messages_column=columns["messages_column"],
        ignored=ignored)
    cleaned, rejected = instructions.clean(rows, batch="", identity=LATEST)
    if cleaned.empty:
        reasons = ", ".join(f"{count} {reason}" for reason, count in
                            rejected["reason"].value_counts().items())
        raise DataError(f"{file}: none of {len(rejected)} rows can be used ({reasons}); expected "
                        f"instructions in '{instruction}' and answers in '{output}', or chats. "
                        f"{rejection.remedies(rejected)}")
    return {"choice": "instructions", **columns,
            **({"ignored_columns": list(ignored)} if ignored else {}), **_written(**written)}


def _written(encoding: str, delimiter: str, quoting: str) -> dict:
    """Return what ftzard.yaml says of how a file is written."""
    return {"encoding": encoding, **({"delimiter": delimiter} if delimiter != "," else {}),
            **({"quoting": quoting} if quoting != "csv" else {})}


def _require(file: Path, there: list[str], named: Mapping[str, str | None], delimiter: str, *,
             nested: Callable[[], Mapping[str, bool]] = dict) -> None:
    """Raise DataError, with the option that mends it, for a column that a file does not have.

    there: the file's columns; named: option -> the column it names, or None; nested: finds the
    columns that hold lists of objects, and whether these are chats.
    """
    for option, column in named.items():
        if column is None or column in there:
            continue
        others = [mark for mark in ";,\t|" if mark != delimiter and mark in "".join(there)]
        shown = ", ".join(name if len(name) <= 40 else f"{name[:40]}…" for name in there)
        lists = nested()
        chats = [name for name, chat in lists.items() if chat and option != "--messages"]
        close = nearest(column, there) if len(there) > 1 and not chats else ""
        close = close if "did you mean" in close else ""
        free = [name for name in there if name not in named.values()
                and (name not in lists or option == "--messages" and lists[name])]
        if len(there) == 1 and others:
            mark = "$'\\t'" if others[0] == "\t" else f"'{others[0]}'"
            remedy = f"Is it separated by {others[0]!r}? Then add --delimiter {mark}."
        elif chats:
            remedy = f"'{chats[0]}' holds chats: add --messages {shlex.quote(chats[0])}."
        elif close or free:
            like = close.split("'")[1] if close else free[0]
            remedy = f"Name the column, as in {option} {shlex.quote(like)}."
        elif lists:
            name = next(iter(lists))
            remedy = (f"'{name}' holds lists of objects that are no chats (these have role and "
                      "content, or from and value): write each of them as a row with columns of "
                      "its own.")
        else:
            remedy = "Add that column to the file."
        raise DataError(f"{file} has no column '{column}'{close or '.'} Its header is: {shown}. "
                        f"{remedy}")


def _nested(file: Path, there: list[str], written: Mapping[str, str]) -> dict[str, bool]:
    """Return the columns whose first filled cell is a list of objects, and whether it is a chat."""
    cells = reading.read_cells(file, {name: name for name in there}, nested=there, **written)
    found = {}
    for name, column in cells.items():
        first = next((cell for cell in column.to_pylist() if cell.strip() not in ("", "[]")), "")
        try:
            value = json.loads(first)
        except json.JSONDecodeError:
            continue
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            found[name] = any({"role", "content"} <= item.keys() or {"from", "value"} <= item.keys()
                              for item in value)
    return found


def _like_labels(file: Path, there: list[str], named: set[str], written: Mapping[str, str]
                 ) -> str | None:
    """Return the column, of those without a name yet, that looks like labels most, or None."""
    others = {name: name for name in dict.fromkeys(there) if name not in named}
    if not others:
        return None
    counts = {name: pd.Series(cells.to_pylist(), dtype="str").replace("", pd.NA).value_counts()
              for name, cells in reading.read_cells(
                  file, others, nested=tuple(others), **written).items()}
    fitting = {name: len(found) for name, found in counts.items()
               if 2 <= len(found) <= found.sum() / 2}
    return min(fitting, key=fitting.__getitem__, default=None)


def keep_delivery(root: Path, file: Path) -> Path:
    """Keep a file as a delivery of a workspace, and the name that it came with; return its path."""
    stored = reading.store_raw(file, root / "data")
    delivery_names.remember(Workspace(root), stored.name.split(".", 1)[0], Path(file).name)
    return stored


def describe_sample(root: Path) -> dict:
    """Write the sample of instructions into a workspace's folder; return the `data` group for it.

    Its training rows become a delivery; all five files lie in data/sample: the two batches are to
    be dropped into data/incoming, the answers to them are what a person would give.
    """
    files = instruction_sample.write(root / "data" / "sample")
    stored = keep_delivery(root, files["training"])
    return {"choice": "instructions", "source": f"data/raw/{stored.name}",
            "messages_column": "messages"}


def instruction_config(data: dict) -> dict:
    """Return what ftzard.yaml says for instruction tuning, with a description of the data.

    The gate compares losses: its limits are in nats per token. A person who writes answers gives
    fewer of them than one who picks labels. Batches are small: of a thousand rows, larger
    ones would make too few steps.
    """
    return {
        "task": "instruction_tuning",
        "data": {"choice": "instructions", **data},
        "model": {"choice": "falcon_tiny_answers"},
        "training": {"batch_size": 8},
        "tuning": {"metric": "validation_loss"},
        "sampling": {"strategy": "least_confidence", "budget": 150, "audit_rows": 60,
                     "min_labelled": 20},
        "gate": {"min_gain": 0.01, "min_rows": 50, "max_forgetting": 0.1},
    }


def _write(path: Path, text: str) -> Path:
    if not path.exists():
        path.write_text(text, encoding="utf-8")
    return path


def _described(config: dict) -> str:
    head = ("# This workspace's config, over FTzard's own files; the Launchpad and the command\n"
            "# line go over it. `ftzard config` shows what comes out.\n")
    return head + (yaml_file.dump(config) if config else "")
