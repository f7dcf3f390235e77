"""The pages of the documentation that are made from the code, as a hook of mkdocs.

`mkdocs.yml` names this file. Commands come from the command line, config keys from the comments of
the packaged YAML files, errors from the places that raise them, artifacts from the table of steps;
Pipeline.md, CHANGELOG.md, SECURITY.md and CONTRIBUTING.md are taken as they are. None of these
pages is a file, so none can be out of date.
"""

import ast
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ftzard import errors
from ftzard.config import comments
from ftzard.config.compose import PACKAGED, defaults
from ftzard.config.pipeline import BY_NAME, CHAINS, DELIVERIES, STEPS

ROOT = Path(__file__).parents[1]
#: Files of the repository's root, and the pages that they are.
AT_THE_ROOT = {"README.md": "index.md", "Pipeline.md": "reference/pipeline.md",
               "SECURITY.md": "reference/security.md", "CHANGELOG.md": "changelog.md",
               "CONTRIBUTING.md": "contributing.md"}
_LINK = re.compile(r"\[([^]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


# --- mkdocs ------------------------------------------------------------------------------------


def on_config(config: Any) -> Any:
    """Add the pages of docs/how-to that mkdocs.yml does not name to its section."""
    section = next(entry["How to"] for entry in config.nav if "How to" in entry)
    there = sorted(f"how-to/{path.name}" for path in Path(config.docs_dir, "how-to").glob("*.md"))
    section += [page for page in there if page not in section]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made here."""
    from mkdocs.structure.files import File

    for name, text in pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def pages() -> dict[str, str]:
    """Return every page that is made from the code, by its name below docs/."""
    made = {page: at_the_root(file) for file, page in AT_THE_ROOT.items() if file != "README.md"}
    return made | {
        "reference/commands.md": commands(), "reference/config.md": config_keys(),
        "reference/presets.md": presets(), "reference/artifacts.md": artifacts(),
        "reference/errors.md": refusals(), "reference/json.md": answers_as_json()}


# --- files of the root --------------------------------------------------------------------------


def at_the_root(name: str) -> str:
    """Return a file of the repository's root as a page."""
    return moved((ROOT / name).read_text(encoding="utf-8"), AT_THE_ROOT[name])


def moved(text: str, page: str) -> str:
    """Return text of a file at the root with its links as they are on a page of docs/.

    Of a link to what is no page only the words stay.
    """
    def link(match: re.Match[str]) -> str:
        words, target, anchor = match[1], match[2], match[3] or ""
        to = AT_THE_ROOT.get(target) or target.removeprefix("docs/")
        if to == target:
            return words
        return f"[{words}]({os.path.relpath(to, Path(page).parent)}{anchor})"
    return _LINK.sub(link, text)


def section(file: str, heading: str) -> str:
    """Return a section of a file of the root, without its heading."""
    text = (ROOT / file).read_text(encoding="utf-8")
    parts = re.split(r"^## (.+)\n", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[heading].strip() + "\n"


# --- commands -----------------------------------------------------------------------------------


def commands() -> str:
    """Return the page of all commands, as `--help` has them."""
    from typer.main import get_command

    from ftzard.cli.start import app

    root = get_command(app)
    out = ["# Commands", "",
           "`ftzard COMMAND --help` prints the same in a terminal. A workspace is named by `-w`, "
           "by `FTZARD_WORKSPACE`, or is the current folder. A command ends with exit code 0 if "
           "it did what it was asked for, with 1 if it refused, and with 130 if it was "
           "interrupted. With `--json`, where there is one, it prints [JSON](json.md) and nothing"
           " else.", ""]
    for name, command in _commands(root):
        out += _command(name, command)
    return "\n".join(out)


def _commands(root: Any) -> Iterator[tuple[str, Any]]:
    context = root.make_context("ftzard", [], resilient_parsing=True)
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        below = getattr(command, "commands", {})
        if not below:
            yield f"ftzard {name}", command
        for sub, what in below.items():
            yield f"ftzard {name} {sub}", what


def _command(name: str, command: Any) -> list[str]:
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join(command.collect_usage_pieces(context))
    about = re.sub(r"\s*\n\s*", " ", re.sub(r"\n\s*\n", "\0", (command.help or "").strip()))
    out = [f"## {name}", "", *about.replace("\0", "\n\n").replace("\f", "").splitlines(), "",
           f"`{name} {usage}`", ""]
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:
            shown = parameter.human_readable_name
            record = (shown, getattr(parameter, "help", "") or "")
        if "--help" not in record[0]:
            rows.append(f"| `{_cell(record[0])}` | {_escaped(record[1])} |")
    return out + (["| argument or option | what it does |", "|---|---|", *rows, ""] if rows else [])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# --- config -------------------------------------------------------------------------------------


def config_keys() -> str:
    """Return the page of all config keys with their defaults, as the packaged YAML files have them.
    """
    described = comments.described()
    out = ["# Config keys", "",
           "Every key, from the comments of the packaged YAML files in `ftzard/config/`. The "
           "files of a workspace go over them: first the model's preset, then `ftzard.yaml`, then"
           " the Launchpad or `KEY=VALUE` on the command line. [Change what a run "
           "does](../how-to/change-a-run.md) shows how; [Presets](presets.md) has the values that"
           " each model brings.", ""]
    groups = {"": PACKAGED / "config.yaml"} | {
        group: PACKAGED / group / f"{choice}.yaml" for group, choice in defaults().items()}
    for group, file in groups.items():
        text = file.read_text(encoding="utf-8")
        values = yaml.safe_load(text)
        values.pop("defaults", None)
        out += [f"## {group or 'Without a group'}", "",
                "" if not group else _head(text), "",
                "| key | default | meaning |", "|---|---|---|"]
        out += [f"| `{key}` | `{_value(value)}` | {_escaped(described.get(key, ''))} |"
                for key, value in _leaves(values, f"{group}." if group else "", described)]
        out += [""]
    return "\n".join(out)


def _head(text: str) -> str:
    """Return the comment that a file begins with."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines)


def _leaves(values: Mapping[str, Any], prefix: str,
            described: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value and any(
                known.startswith(f"{name}.") for known in described):
            yield from _leaves(value, f"{name}.", described)
        else:
            yield name, value


def _value(value: Any) -> str:
    shown = yaml.safe_dump(value, default_flow_style=True, width=10_000).strip()
    return _cell(shown.removesuffix("...").strip())


def presets() -> str:
    """Return the page of the choices of each group that are not its default, as they are."""
    out = ["# Presets", "",
           "The files that can be chosen in place of a group's default, with where each value is "
           "from. Choose one with `model: {choice: falcon_7b}` in `ftzard.yaml` or the Launchpad,"
           " or with `model=falcon_7b` on the command line.", ""]
    for group, default in defaults().items():
        others = sorted((PACKAGED / group).glob("*.yaml"))
        others = [file for file in others if file.stem != default or group == "model"]
        out += [f"## {group}", ""] if others else []
        for file in others:
            out += [f"### {group}={file.stem}", "", "``` { .yaml .no-run }",
                    file.read_text(encoding="utf-8").rstrip(), "```", ""]
    return "\n".join(out)


# --- artifacts ----------------------------------------------------------------------------------


def artifacts() -> str:
    """Return the page of steps, jobs and artifacts."""
    out = ["# Steps, jobs and artifacts", "", "## Steps", "",
           "| step | notebook | MLflow run | takes | yields | what it does |",
           "|---|---|---|---|---|---|"]
    for step in STEPS:
        takes, yields = (", ".join(f"`{name}`" for name in names)
                         for names in (step.takes, step.yields))
        out.append(f"| {step.name} | {step.notebook} | {step.run_name} | {takes} | {yields} | "
                   f"{_escaped(step.about)} |")
    out += ["", "## Jobs", "",
            "Each step has a job of its own, `<step>_job`. These run several:", "",
            "| job | steps | begins with a file of |", "|---|---|---|"]
    for job, steps in CHAINS.items():
        first = [DELIVERIES.get(job, {}).get(name, name) for name in BY_NAME[steps[0]].takes]
        out.append(f"| `{job}` | {' → '.join(steps)} | {', '.join(first)} |")
    return "\n".join([*out, "", "## Artifacts", "", moved(section("Pipeline.md", "Artifacts"),
                                                          "reference/artifacts.md")])


def answers_as_json() -> str:
    """Return the page of what `--json` prints."""
    return "# Answers as JSON\n\n" + moved(section("Pipeline.md", "Answers as JSON"),
                                           "reference/json.md")


# --- errors -------------------------------------------------------------------------------------


def refusals() -> str:
    """Return the page of every message that a refusal may have, by its kind."""
    out = ["# Errors", "",
           "FTzard refuses rather than go on with something wrong. Each refusal is one sentence "
           "that names the thing, its value, what was expected and what to do; a traceback comes "
           "after it, if at all. Below is every sentence that the code has, with `…` for what is "
           "filled in. Use the search of this page with a few words of yours.", ""]
    for kind, messages in sorted(messages_by_kind().items()):
        about = " ".join((getattr(errors, kind, None).__doc__ or "").split())
        out += [f"## {kind}", "", about, ""]
        for room, texts in sorted(messages.items()):
            out += [f"**{room}**", "", *(f"- {text}" for text in sorted(texts)), ""]
    return "\n".join(out)


def messages_by_kind() -> dict[str, dict[str, set[str]]]:
    """Return {kind of error: {room: messages}} of all that the package raises."""
    kinds = {name for name, value in vars(errors).items()
             if isinstance(value, type) and issubclass(value, errors.FtzardError)}
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in sorted((ROOT / "ftzard").rglob("*.py")):
        room = path.relative_to(ROOT / "ftzard").parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) in kinds and node.args:
                text = _wording(node.args[0])
                if len(text.replace("…", "").split()) > 2:
                    found[node.func.id][room].add(_escaped(text))
    return found


def _wording(node: ast.expr) -> str:
    """Return the text of an expression, with … for each part that is computed."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_wording, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _wording(node.left) + _wording(node.right)
    return "…"


def _escaped(text: str) -> str:
    text = re.sub("…+", "…", " ".join(text.split()))
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", text)
