"""A Label Studio project of the rows that wait: tasks go there, finished annotations come back.

Nothing about it is stored here: which tasks are there, and which answers are new, is seen from the
project itself, from the files in data/labelled and from the cleaned rows. So the command may be
repeated or killed, and adds only what is new.
"""

import importlib.util
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pandas as pd

from ftzard.core.locks import locked
from ftzard.data.labeling import label_studio, labeling_queue, submissions
from ftzard.data.labeling.label_formats import LabelFormat
from ftzard.data.labeling.label_studio_export import answers_of
from ftzard.data.storage import read_parquet
from ftzard.errors import DataError, FtzardError
from ftzard.steps.guidelines import guidelines
from ftzard.steps.label_submission import write_submission
from ftzard.steps.labeling_batch import batch_files, require_batch
from ftzard.tasks.base import task_named
from ftzard.versioning import git
from ftzard.workspace.identity_rules import identity
from ftzard.workspace.workspace import Workspace

if TYPE_CHECKING:
    from label_studio_sdk.client import LabelStudio

#: The variable with the token, which stands nowhere else. The SDK calls it so, too.
TOKEN = "LABEL_STUDIO_API_KEY"
#: Label Studio's longest title of a project, and how many tasks are sent at once.
LONGEST_TITLE, AT_ONCE = 50, 1_000
#: Seconds within which the server has to answer.
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Exchanged:
    """What came of one exchange.

    Attributes:
        project: The project's address.
        created: Whether the project is new.
        changed: Which of its settings were set anew.
        added: Tasks that were added now.
        tasks: Tasks that are there now.
        labels: Labels that were fetched now.
        file: The file in data/labelled that they are in; None without any.
    """

    project: str
    created: bool
    changed: Sequence[str]
    added: int
    tasks: int
    labels: int
    file: Path | None


def exchange(workspace: Workspace, url: str, batch: str | None = None) -> Exchanged:
    """Send the rows that wait to the workspace's project, and fetch the answers that are new.

    Args:
        workspace: Whose queue it is.
        url: The server's address.
        batch: Send only this batch, by its name or how that begins; None: all of them.

    Raises:
        DataError: No row was queued for labels, or an answer cannot be read.
        FtzardError: The SDK is missing, the token is missing or refused, or the server does not
            answer as Label Studio does.
    """
    url = _checked(url)
    with locked(workspace.state / "label-studio.lock", {"pid": os.getpid()}):
        return _exchange(workspace, url, batch)


def _exchange(workspace: Workspace, url: str, batch: str | None) -> Exchanged:
    files = [require_batch(workspace, batch)] if batch else batch_files(workspace)
    if not files:
        raise DataError("no row was queued for labels: data/labelling is empty. Run "
                        "inference_pipeline_job on a batch first.")
    config = workspace.config()
    place = workspace.root / config.paths.cleaned
    cleaned = read_parquet(place) if place.is_file() else None
    rules = identity(workspace, config)
    labeling = task_named(config.task.kind).labeling
    labels = labeling.label_format(config.data, rules, [] if cleaned is None else cleaned["label"])
    client = _client(url)
    with _explained(url):
        project, created, changed = _project(client, workspace, {
            "label_config": labeling.label_studio_interface(labels.names),
            "expert_instruction": str(guidelines(workspace.root) or "")})
        there = _tasks(client, project)
    answers = answers_of(there, f"{url}, project {project}", free=labels.free_text)
    answered = _known_answers(workspace, cleaned, labels)
    fresh = _fresh(answers, answered, labels)
    file = None
    if len(fresh):
        fresh = fresh.assign(own_answer="", seen="")
        file = write_submission(workspace.labelled, fresh, batch="label-studio",
                                person="annotators")
    known = {str(task["data"].get("row_id")) for task in there}
    known |= {row for row, _, label in answered if label}
    made: list[dict] = []
    for queue_file in files:
        queue = submissions.waiting(queue_file, cleaned, rules)
        if queue is not None:
            queue = labeling_queue.hide(queue[~queue["id"].isin(known)],
                                        config.sampling.show_suggestions, config.sampling.overlap)
            made += label_studio.tasks(queue, _model(queue_file), labeling.label_studio_value)
    with _explained(url):
        for start in range(0, len(made), AT_ONCE):
            client.projects.import_tasks(
                project, request=made[start:start + AT_ONCE])  # type: ignore[arg-type]
    return Exchanged(f"{url}/projects/{project}/data", created, changed, len(made),
                     len(there) + len(made), len(fresh), file)


def _checked(url: str) -> str:
    """Return a server's address without a slash at its end; raises FtzardError for none."""
    parts = urlsplit(url.strip())
    if parts.username or parts.password:
        raise FtzardError("the address of Label Studio holds a name or a password, which would "
                          f"stand in the list of processes; set {TOKEN} instead.")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise FtzardError(f"'{url}' is no address of a Label Studio server; expected one such as "
                          "http://127.0.0.1:8080.")
    return url.strip().rstrip("/")


def _client(url: str) -> "LabelStudio":
    token = os.environ.get(TOKEN, "").strip()
    if importlib.util.find_spec("label_studio_sdk") is None:
        raise FtzardError(
            "--label-studio needs the extra 'label-studio', which is not installed; install it "
            "with pip install -c constraints.txt 'ftzard[label-studio]'.")
    if not token:
        raise FtzardError(
            f"--label-studio needs {TOKEN}: your access token, from Account & Settings of Label "
            "Studio. Set it in the environment or in the workspace's .env.")
    with _explained(url):
        from httpx import Client
        from label_studio_sdk.client import LabelStudio

        # A redirect is not followed: it would turn a POST into a GET.
        return LabelStudio(base_url=url, api_key=token,
                           httpx_client=Client(timeout=PATIENCE_S, follow_redirects=False))


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Raise what the SDK raises as one sentence, without headers, which may hold the token."""
    from httpx import HTTPError, InvalidURL
    from label_studio_sdk.core.api_error import ApiError

    try:
        yield
    except ApiError as error:
        raise FtzardError(_refusal(url, error.status_code or 0, error.body)) from None
    except (HTTPError, InvalidURL) as error:
        raise FtzardError(f"Label Studio at {url} does not answer ({type(error).__name__}: "
                          f"{error}); start it, or mend the address.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FtzardError(f"{url} does not answer as Label Studio does ({type(error).__name__}: "
                          f"{str(error)[:200]}); expected the address of its start page.") from None


def _refusal(url: str, status: int, body: object) -> str:
    """Return the sentence for an answer that is an error."""
    if status == 401:
        return (f"Label Studio at {url} does not accept the token in {TOKEN}; take a new one from "
                "Account & Settings. The older kind, a legacy token, must be allowed there.")
    if 300 <= status < 400:
        return f"{url} redirects to another address; name that one."
    detail = body
    if isinstance(body, dict):
        detail = body.get("validation_errors") or body.get("detail") or body
    shown = " ".join(str(detail).split())[:300]
    if status == 403:
        return f"Label Studio at {url} does not allow this to the owner of the token: {shown}."
    if status == 404:
        return (f"{url} does not answer as Label Studio does; expected the address of its start "
                "page.")
    return f"Label Studio at {url} refused a request (HTTP {status}): {shown}."


def _marker(workspace: Workspace) -> str:
    """Return what the description of the workspace's project says, in every clone of it."""
    roots = git.git(workspace.root, "rev-list", "--max-parents=0", "HEAD").split()
    return f"Rows of the FTzard workspace {roots[-1][:12]}"


def _project(client: "LabelStudio", workspace: Workspace, wanted: dict[str, str]
             ) -> tuple[int, bool, list[str]]:
    """Return the project's number, whether it was made now, and which settings were set anew."""
    title, marker = workspace.root.name[:LONGEST_TITLE].ljust(3, "_"), _marker(workspace)
    existing = next((p for p in client.projects.list(title=title)
                  if p.title == title and marker in (p.description or "")), None)
    if existing is None:
        made = client.projects.create(
            title=title, description=marker, show_instruction=bool(wanted["expert_instruction"]),
            **wanted)
        return _number(made.id), True, []
    number = _number(existing.id)
    now = client.projects.get(number)
    changed: dict[str, Any] = {}
    if not same_answers(now.label_config or "", wanted["label_config"]):
        changed["label_config"] = wanted["label_config"]
    if (now.expert_instruction or "").strip() != wanted["expert_instruction"].strip():
        changed |= {"expert_instruction": wanted["expert_instruction"],
                    "show_instruction": bool(wanted["expert_instruction"])}
    if changed:
        client.projects.update(number, **changed)
    names = {"label_config": "interface", "expert_instruction": "guidelines"}
    return number, False, [shown for key, shown in names.items() if key in changed]


def _number(value: int | None) -> int:
    if value is None:
        raise ValueError("a project without a number")
    return value


def same_answers(one: str, other: str) -> bool:
    """Return whether two interfaces ask for the same answers, however else they look.

    What a team has added to the interface stays as it is.
    """
    return _answers(one) == _answers(other) is not None


def _answers(interface: str) -> tuple[str, str, frozenset[str]] | None:
    """Return kind, choice and names of the control that holds the labels; None without one."""
    try:
        root = ElementTree.fromstring(interface)
    except ElementTree.ParseError:
        return None
    for control in root.iter():
        if control.get("name") == label_studio.FROM:
            return control.tag, control.get("choice", ""), frozenset(
                choice.get("value", "") for choice in control.iter("Choice"))
    return None


def _tasks(client: "LabelStudio", project: int) -> list[dict]:
    """Return the project's tasks as an export has them, with the names of the annotators."""
    tasks = client.projects.exports.as_json(project)
    if not isinstance(tasks, list):
        raise ValueError(f"an export that is a {type(tasks).__name__}")
    by = {a.get("completed_by") for task in tasks for a in task.get("annotations") or []}
    if any(isinstance(person, int) for person in by):
        names = _people(client)
        for task in tasks:
            for annotation in task.get("annotations") or []:
                person = annotation.get("completed_by")
                annotation["completed_by"] = names.get(person, person)
    return tasks


def _people(client: "LabelStudio") -> dict[int, str]:
    """Return {number: e-mail address or name} of the people; {} if the token may not see them."""
    from label_studio_sdk.core.api_error import ApiError

    try:
        return {user.id: user.email or user.username or str(user.id)
                for user in client.users.list() if user.id is not None}
    except ApiError as error:
        if error.status_code == 403:
            return {}
        raise


#: A row, who labeled it, and the label.
Triple = tuple[str, str, str]


def _triples(rows: pd.DataFrame, labels: LabelFormat) -> list[Triple]:
    """Return the answers in rows; a label as the task writes it, or as it was given if it is none.
    """
    read = labels.parse(rows["label"])
    label = read.where(read.notna(), rows["label"]).astype("str").str.strip()
    return list(zip(rows["id"], rows["labelled_by"], label, strict=True))


def _known_answers(workspace: Workspace, cleaned: pd.DataFrame | None, labels: LabelFormat
                   ) -> set[Triple]:
    """Return the answers that were handed in already: as files, as cleaned rows, or as refused."""
    known: set[Triple] = set()
    if cleaned is not None and "labelled_by" in cleaned:
        known.update(_triples(cleaned[["id", "labelled_by", "label"]].fillna("").astype("str"),
                              labels))
    for path in _handed_in(workspace):
        try:
            known.update(_triples(labeling_queue.read_labelled(path, free=labels.free_text),
                                  labels))
        except FtzardError:
            continue  # its run says what is wrong with it
    return known


def _handed_in(workspace: Workspace) -> Iterable[Path]:
    """Return the files of labels that lie in data/labelled, or were refused in part."""
    for folder, pattern in ((workspace.labelled, "**/*.*"), (workspace.quarantine, "*.csv")):
        yield from (path for path in sorted(folder.glob(pattern))
                    if path.is_file() and path.suffix in (".csv", ".json", ".jsonl", ".parquet"))


def _fresh(answers: pd.DataFrame | None, known: set[Triple], labels: LabelFormat) -> pd.DataFrame:
    """Return the answers of a row that were not handed in yet."""
    if answers is None:
        return pd.DataFrame(columns=["id"])
    answers = answers[answers["label"].str.strip() != ""]
    fresh = [triple not in known for triple in _triples(answers, labels)]
    return answers[fresh].reset_index(drop=True)


def _model(queue_file: Path) -> str:
    """Return name and version of the model whose suggestions stand in a queue's file."""
    place = labeling_queue.suggestions_file(queue_file)
    models = read_parquet(place, columns=["model"])["model"] if place.is_file() else []
    return str(models.iloc[-1]) if len(models) else "unknown"
