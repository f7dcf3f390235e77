"""What the shell offers behind a half-typed command: commands, options, and values by their kind.

The shells' scripts hand over the line as it is typed, up to the cursor, in `FTZARD_COMPLETE`, and
read a candidate per line: the whole word, a tab, what it means. Bash, zsh and fish ask the same.
"""

import contextlib
import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_args

from ftzard.errors import FtzardError
from ftzard.tasks.base import task_names

LINE = "FTZARD_COMPLETE"
Candidate = tuple[str, str]

_BASH = """\
_ftzard_complete() {
    local line="${COMP_LINE:0:COMP_POINT}" word prefix="" breaks value
    word="${line##*[[:space:]]}"
    # What bash takes for the end of a word inside ours: only the part behind it is replaced.
    breaks="${COMP_WORDBREAKS//[^=@:]/}"
    if [ -n "$breaks" ]; then prefix="${word%"${word##*[$breaks]}"}"; fi
    COMPREPLY=()
    while IFS=$'\\t' read -r value _; do
        COMPREPLY+=("${value#"$prefix"}")
    done < <(FTZARD_COMPLETE="$line" "${1/#\\~/$HOME}" 2>/dev/null)
    if [ "${#COMPREPLY[@]}" -eq 1 ]; then
        case "${COMPREPLY[0]}" in *=|*@) type compopt >/dev/null 2>&1 && compopt -o nospace ;; esac
    fi
}
complete -o bashdefault -o default -F _ftzard_complete ftzard
"""

_ZSH = """\
#compdef ftzard
_ftzard() {
    local line value meaning
    local -a whole begun
    line="${(j: :)words[1,CURRENT-1]} ${PREFIX}"
    while IFS=$'\\t' read -r value meaning; do
        if [[ "$value" == *[=@] ]]; then
            begun+=("$value")
        else
            whole+=("${value//:/\\\\:}:${meaning}")
        fi
    done < <(FTZARD_COMPLETE="$line" "${(Q)words[1]}" 2>/dev/null)
    if (( ${#whole} + ${#begun} == 0 )); then
        _files
        return
    fi
    (( ${#begun} )) && compadd -S '' -- $begun
    (( ${#whole} )) && _describe -V 'ftzard' whole
}
compdef _ftzard ftzard
"""

_FISH = """\
function __ftzard_complete
    set -lx FTZARD_COMPLETE (commandline -cp)
    command ftzard 2>/dev/null
end
complete -c ftzard -f -a '(__ftzard_complete)'
complete -c ftzard -n 'test -z "$(__ftzard_complete)"' -F
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
#: What is typed to have it in every new shell.
INSTALL = {
    "bash": "echo 'source <(ftzard completion bash)' >> ~/.bashrc",
    "zsh": "echo 'source <(ftzard completion zsh)' >> ~/.zshrc (behind compinit)",
    "fish": "ftzard completion fish > ~/.config/fish/completions/ftzard.fish",
}


def answer(root, line: str) -> list[str]:
    """Return a line per candidate for a command line: the word, a tab, its meaning."""
    words, begun = split(line)
    return [f"{value}\t{' '.join(meaning.split())}".rstrip("\t")
            for value, meaning in candidates(root, words[1:], begun)]


def split(line: str) -> tuple[list[str], str]:
    """Return the finished words of a line, and the unfinished one ('' for a new one)."""
    reader = shlex.shlex(line, posix=True, punctuation_chars=False)
    reader.whitespace_split, reader.commenters = True, ""
    words: list[str] = []
    try:
        words += reader
    except ValueError:  # a quote that is not closed yet
        words.append(reader.token)
        return words[:-1], words[-1]
    if line[-1:].isspace() or not words:
        return words, ""
    return words[:-1], words[-1]


def candidates(root, words: list[str], begun: str) -> Iterator[Candidate]:
    """Yield the candidates for the unfinished word.

    Args:
        root: The command that all others belong to.
        words: Those before it, without the program.
    """
    command, place, option, options = root, 0, None, True
    given: dict[str, str] = {}
    for word in words:
        if option is not None:
            given[option.name], option = word, None
        elif options and word == "--":
            options = False
        elif options and word.startswith("-") and len(word) > 1:
            name, equals, value = word.partition("=")
            parameter = _option(command, name)
            if parameter is not None and not parameter.is_flag:
                given, option = (({**given, parameter.name: value}, None) if equals
                                 else (given, parameter))
        elif hasattr(command, "commands"):
            command = command.commands.get(word) if word in command.commands else None
            if command is None:
                return
        else:
            place += 1
    if option is None and options and begun.startswith("--") and "=" in begun:
        name, _, value = begun.partition("=")
        option = _option(command, name)
        if option is None:
            return
        yield from ((f"{name}={value_text}", meaning)
                    for value_text, meaning in _matching(_values(option.name, given, words), value))
    elif option is not None:
        yield from _matching(_values(option.name, given, words), begun)
    elif options and begun.startswith("-"):
        yield from _matching(_options(command), begun)
    elif hasattr(command, "commands"):
        yield from _matching(((name, _meaning(command.commands[name]))
                              for name in command.list_commands(None)), begun)
    else:
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        if not arguments or place >= len(arguments) and arguments[-1].nargs != -1:
            return
        name = arguments[min(place, len(arguments) - 1)].name
        yield from _matching(_values(name, given, words, place), begun)


def _matching(candidates: Iterable[Candidate], begun: str) -> Iterator[Candidate]:
    return ((value, meaning) for value, meaning in candidates if value.startswith(begun))


def _option(command, name: str):
    return next((p for p in command.params if name in (*p.opts, *p.secondary_opts)), None)


def _options(command) -> list[Candidate]:
    options = [(name, p.help or "") for p in command.params if p.param_type_name == "option"
               for name in (*p.opts, *p.secondary_opts) if name.startswith("--")]
    return [*options, ("--help", "Show this message and exit.")]


def _meaning(command) -> str:
    return command.get_short_help_str(80)


def _values(name: str, options: dict[str, str], words: list[str], place: int = 0
            ) -> Iterable[Candidate]:
    """Return the values of an argument or an option by its name; none for a path or text."""
    kind = _KINDS.get(name)
    if kind is None or name == "what" and place > 0:
        return ()
    with contextlib.suppress(FtzardError, OSError, ValueError):
        return list(kind(options, words))
    return ()


def _jobs(options: dict[str, str], words: list[str]) -> Iterator[Candidate]:
    from ftzard.config.pipeline import BY_NAME, JOBS

    for job, steps in JOBS.items():
        yield job, BY_NAME[steps[0]].about if len(steps) == 1 else ", ".join(steps)


def _workspace(options: dict[str, str]):
    from ftzard.workspace.workspace import find

    return find(Path(os.path.expanduser(options["workspace"])) if "workspace" in options else None)


def _models(options: dict[str, str], words: list[str]) -> Iterator[Candidate]:
    from ftzard.tracking.model_version import ALIASES
    from ftzard.tracking.sqlite_reading import local_versions

    role = {"champion": "the model in use", "challenger": "the newest that waits",
            "previous": "the champion before", "base": "the untrained base"}
    yield from ((name, role[name]) for name in (*ALIASES, "base"))
    with contextlib.suppress(FtzardError):
        for version, aliases in local_versions(_workspace(options)):
            yield str(version), ", ".join(aliases)


def _model_names(options: dict[str, str], words: list[str]) -> Iterator[Candidate]:
    from ftzard.tracking.sqlite_reading import local_versions

    versions = local_versions(_workspace(options))
    yield from ((name, "") for name in dict.fromkeys(version.name for version, _ in versions))


def _numbers(options: dict[str, str], words: list[str]) -> Iterator[Candidate]:
    from ftzard.tracking.sqlite_reading import local_versions

    for version, aliases in local_versions(_workspace(options)):
        if not version.name.endswith("-base"):
            yield str(version.number), ", ".join([version.name, *aliases])


def _config_keys(options: dict[str, str], words: list[str]) -> Iterator[Candidate]:
    """Yield every key as the beginning of an override, and the choices of each group."""
    from ftzard.config import compose
    from ftzard.config.schema import Config

    folder = None
    with contextlib.suppress(FtzardError):
        folder = _workspace(options).root / "config"
    for group in fields(Config):
        if not is_dataclass(group.type):
            yield f"{group.name}=", ""
            continue
        yield from ((f"{group.name}={choice}", f"a choice of {group.name}")
                    for choice in compose.available(group.name, folder))
        yield from ((f"{key}=", "") for key in _keys(group.type, f"{group.name}."))


def _keys(kind: type, before: str) -> Iterator[str]:
    for field in fields(kind):
        inner = next((hint for hint in (field.type, *get_args(field.type)) if is_dataclass(hint)),
                     None)
        if inner is not None:
            yield from _keys(inner, f"{before}{field.name}.")
        else:
            yield f"{before}{field.name}"


def _artifacts(options: dict[str, str], words: list[str]) -> Iterator[Candidate]:
    from ftzard.workspace.artifact_names import NAMES

    yield from ((name, "") for name in NAMES)


def _batches(options: dict[str, str], words: list[str]) -> Iterator[Candidate]:
    yield from ((path.stem, "") for path in sorted(_workspace(options).labelling.glob("*.csv")))


def _among(*values: str) -> Callable[[dict[str, str], list[str]], Iterable[Candidate]]:
    return lambda options, words: [(value, "") for value in values]


#: By the name of an argument or an option, what it may be.
_KINDS: dict[str, Callable[[dict[str, str], list[str]], Iterable[Candidate]]] = {
    "job": _jobs,
    "overrides": _config_keys,
    "model": _models,
    "what": _models,
    "first": _models,
    "second": _models,
    "name": _model_names,
    "version": _numbers,
    "artifact": _artifacts,
    "artifacts": _artifacts,
    "batch": _batches,
    "kind": _among("txt", "jsonl", "csv"),
    "task": _among(*task_names()),
    "only": _among("dagster", "mlflow"),
    "quoting": _among("csv", "none"),
    "permission": _among("read", "edit", "manage", "none"),
    "shell": _among(*SCRIPTS),
}
