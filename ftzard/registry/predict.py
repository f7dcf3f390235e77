"""`ftzard predict`: a registered model answers texts, a file of them, or a stream, line by line.

Every line that goes in has a line that comes out, in the same order: its prediction, or why there
is none. Texts are cleaned as those of training were. Nothing is kept in memory but one batch.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ftzard.core import escaping
from ftzard.data import json_lines
from ftzard.errors import DataError, ModelError, nearest
from ftzard.registry import input_lines, line_answers, requests
from ftzard.registry.input_lines import BATCH
from ftzard.registry.requests import Columns, Line
from ftzard.tasks.base import task_named
from ftzard.workspace.workspace import Workspace

if TYPE_CHECKING:
    from ftzard.config.schema import Config

FORMATS = ("txt", "jsonl", "csv", "parquet")
STREAM = "-"
_COMPUTE = re.compile(r"compute(?:\.\w+)?=.*", re.S)
_FILE = re.compile(r"\S+\.(?:(?:txt|jsonl|csv)(?:\.gz)?|parquet)")



@dataclass(frozen=True)
class Asked:
    """What the words of a command mean: which model, and either texts or a file ('-': stdin).

    Attributes:
        overrides: Where a file is predicted, such as compute=ray.
    """

    model: str
    texts: tuple[str, ...] = ()
    source: str | None = None
    overrides: tuple[str, ...] = ()


@dataclass
class Tally:
    """How many lines were read, and the numbers of those that could not be predicted."""

    lines: int = 0
    bad: list[int] = field(default_factory=list)


def understood(words: list[str]) -> Asked:
    """Return what `[MODEL] [FILE|-|TEXT…]` means; without a model: the champion.

    A role or NAME@VERSION is a model, an existing file or '-' is where texts are read from,
    nothing is '-' too. Raises DataError for a file that does not exist or is of an unknown type,
    and for a file among texts.
    """
    from ftzard.registry.lookup import is_reference

    model, words = (words[0], words[1:]) if words and is_reference(words[0]) else (
        "champion", words)
    if not words:
        return Asked(model, source=STREAM)
    overrides = tuple(word for word in words if re.fullmatch(_COMPUTE, word))
    rest = [word for word in words if word not in overrides]
    sources = [w for w in rest if w == STREAM or os.path.isfile(w) or re.fullmatch(_FILE, w)]
    if not sources:
        return Asked(model, texts=tuple(words))
    words = rest
    if len(words) > 1:
        raise DataError(f"'{sources[0]}' stands among {len(words)} arguments; expected one file, "
                        "or texts alone.")
    if sources[0] != STREAM:
        format_of(sources[0])
    elif overrides:
        raise DataError(f"{overrides[0]} goes with a file, and what is piped in is predicted here, "
                        "as it arrives; give a file's name, or leave it out.")
    return Asked(model, source=sources[0], overrides=overrides)


def format_of(source: str) -> str:
    """Return the format of a file by its name; refuses one that is missing or unknown."""
    path = Path(source)
    if not path.is_file():
        raise DataError(f"{source} does not exist; expected a file of texts, or a text (a text "
                        "that looks like a file's name can be piped in).")
    name = path.name.lower()
    kind = name.removesuffix(".gz").rpartition(".")[2]
    if kind not in FORMATS or (kind == "parquet" and name.endswith(".gz")):
        raise DataError(f"{source} is of an unknown type '{path.suffix}'; valid are: "
                        f"{', '.join(f'.{f}' for f in FORMATS)}, and .gz behind the first three. "
                        "Or pipe it in, with --format.")
    return kind


def predict_texts(workspace: Workspace, asked: Asked,
                  note: Callable[[str], object] | None = None) -> list[dict]:
    """Return a prediction per text: text, label, confidence, probabilities, calibrated, abstains,
    cut (tokens lost).

    note: gets the sentence on a confidence that is not calibrated. Of a model that writes answers
    the label is the answer, and tokens (written) and finished (it ended by itself) stand in place
    of what follows the confidence. Raises ModelError, a line for each, for texts that are empty or
    too long for it.
    """
    answer = _opened(workspace, asked.model, note)
    lines = [Line(number, text, text) for number, text in enumerate(asked.texts, 1)]
    predictions = answer(lines)
    wrong = [f"text {line.number} {line.text[:60]!r}: {prediction['error']}"
             for line, prediction in zip(lines, predictions, strict=True) if "error" in prediction]
    if wrong:
        raise ModelError("\n".join(wrong))
    return [{"text": line.text, **prediction}
            for line, prediction in zip(lines, predictions, strict=True)]


def predict_stream(workspace: Workspace, asked: Asked, write: Callable[[str], object], *,
                   kind: str | None = None, column: str | None = None,
                   encoding: str | None = None, delimiter: str | None = None) -> Tally:
    """Predict a file or stdin; write a line of JSON per line of it, in order, batch by batch.

    Args:
        kind: One of FORMATS; default: by the file's name, of stdin by its first line.
        column: With the text.
        encoding, delimiter: How it is written; defaults: as the config's `data` says, as training
            reads.

    Raises:
        DataError: For what cannot be read at all; a single line that cannot be used is written
            with its error.
    """
    if kind is not None and kind not in FORMATS:
        raise DataError(f"--format is '{kind}'{nearest(kind, FORMATS)}")
    config = workspace.config({"overrides": list(asked.overrides)})
    data = config.data
    columns = Columns(
        column or data.text_column, data.input_column, data.messages_column,
        tuple(data.ignored_columns or ()) if task_named(workspace.task).prompt_columns else None)
    kind = kind or (None if asked.source == STREAM else format_of(asked.source))
    _require_effect(asked, kind, encoding, delimiter)
    if encoding is None:
        # What a person types is the terminal's, whatever their files are.
        typed = asked.source == STREAM and sys.stdin.isatty()
        encoding = "utf-8" if typed else data.encoding
    tally = Tally()
    with ExitStack() as stack:
        if asked.source != STREAM:
            input_lines.require_content(Path(asked.source), kind)
        if kind == "parquet":
            read = _table(Path(asked.source), columns)
        else:
            stream = sys.stdin.buffer if asked.source == STREAM else stack.enter_context(
                input_lines.opened(asked.source, encoding))
            read = batches(stream, kind, columns, encoding, delimiter or data.delimiter,
                           data.quoting)
        on_cluster = config.compute.kind != "local" and asked.source != STREAM
        predicted = (_on_cluster(workspace, config, asked.model, read) if on_cluster else
                     _here(read, _opened(workspace, asked.model)))
        try:
            for number, failed, text in predicted:
                tally.lines += 1
                tally.bad += [number] if failed else []
                write(text)
        except BrokenPipeError:  # who reads has had enough, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return tally


def _here(read: Iterable[list[Line]], answer: Callable[[list[Line]], list[dict]]
          ) -> Iterator[tuple[int, bool, str]]:
    """Yield (line number, whether it could not be predicted, JSON) of each line of batches."""
    for batch in read:
        for output in line_answers.answered(batch, answer):
            yield output["line"], "error" in output, line_answers.as_json(output)


def _on_cluster(workspace: Workspace, config: "Config", model: str, read: Iterable[list[Line]]
                ) -> Iterator[tuple[int, bool, str]]:
    from ftzard.registry import cluster_lines, lookup

    return cluster_lines.predict(workspace, config, lookup.files(workspace, model), read)


def _require_effect(asked: Asked, kind: str | None, encoding: str | None, delimiter: str | None
                    ) -> None:
    """Raise DataError for an option that this input has no use for."""
    if kind == "parquet" and asked.source == STREAM:
        raise DataError("a Parquet file cannot be piped in; give its name.")
    if kind == "parquet" and encoding is not None:
        raise DataError("--encoding goes with files of text; Parquet says itself how it is "
                        "written. Leave it out.")
    if kind != "csv" and delimiter is not None:
        raise DataError("--delimiter goes with CSV; leave it out, or add --format csv if that is "
                        "what the input is.")


def batches(stream: BinaryIO, kind: str | None, column: str | Columns, encoding: str,
            delimiter: str = ",", quoting: str = "csv") -> Iterator[list[Line]]:
    """Yield the lines of a stream, those that are there already, at most BATCH at a time."""
    column = Columns(column) if isinstance(column, str) else column
    read = (_records(stream, encoding, column, delimiter, quoting) if kind == "csv"
            else _lines(stream, encoding))
    for batch in read:
        if kind is None:
            kind = "jsonl" if _is_object(batch[0].raw) else "txt"
        yield [requests.of_json(line, column) if kind == "jsonl" and line.error is None
               else line for line in batch]


def _lines(stream: BinaryIO, encoding: str) -> Iterator[list[Line]]:
    """Yield full batches of a file, and lines of a pipe as they arrive."""
    for texts in input_lines.text_lines(stream, encoding):
        yield [requests.of_text(text) for text in texts]


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _records(stream: BinaryIO, encoding: str, column: Columns, delimiter: str, quoting: str
             ) -> Iterator[list[Line]]:
    """Yield the records of a CSV file below its header; a record's number is its first line's."""
    header, batch, rows = None, [], 0
    for row in input_lines.csv_rows(stream, encoding, delimiter, quoting):
        rows += header is not None or row.error is not None
        if row.error:
            raw = "" if header is None or not row.cells else input_lines.shown(
                dict(zip(header, row.cells, strict=False)))
            batch.append(Line(row.number, raw, error=row.error))
        elif header is None:
            header = row.cells
            if column.text not in header and column.messages not in header:
                raise input_lines.missing_column(column.text, header, delimiter)
            for name in (column.text, column.input, column.messages):
                if header.count(name) > 1:
                    raise DataError(f"the header has {header.count(name)} columns '{name}'; rename "
                                    "one.")
        else:
            batch.append(_record(row.number, row.cells, header, column))
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
    elif not rows:
        raise DataError(f"the input {'is empty' if header is None else 'has a header but no rows'};"
                        " expected at least one row below a header line.")


def _table(path: Path, column: Columns) -> Iterator[list[Line]]:
    """Yield the rows of a Parquet file, numbered from 1."""
    names = [name for name in (column.text, column.input, column.messages, "id") if name]
    needed = [name for name in (column.text, column.messages) if name]
    every = column.ignored is not None  # any other column may belong to what is asked
    for rows in input_lines.parquet_rows(path, None if every else names, needed):
        yield [requests.of_record(
                   Line(number, input_lines.shown(row), id=row.get("id")),
                   {**row, column.text: row.get(column.text)}, column) for number, row in rows]


def _record(number: int, cells: list[str], header: list[str], column: Columns) -> Line:
    raw = ",".join(cells)
    values = dict(zip(header, cells, strict=False))
    if len(cells) != len(header):
        return Line(number, raw, error=f"{len(cells)} cells, expected {len(header)}")
    asked = values if column.ignored is not None else {
        name: values[name] for name in (column.text, column.input, column.messages)
        if name in values}
    if json_lines.half_pair(list(asked.values())):
        return Line(number, raw.encode("utf-8", "replace").decode(), id=values.get("id"),
                    error="bytes that are not of this encoding; see --encoding")
    return requests.of_record(Line(number, raw, id=values.get("id")), asked, column)


def _opened(workspace: Workspace, model: str, note: Callable[[str], object] | None = None
            ) -> Callable[[list[Line]], list[dict]]:
    """Return the function that a model answers the texts of lines with."""
    from ftzard.registry import lookup

    files = lookup.files(workspace, model)
    answer = line_answers.answering(files, workspace.config().task.abstain_below)
    if (task_named(files.task).predictor.CALIBRATED and files.temperature is None
            and note is not None):
        note(f"the confidence of {files.name} is as the model says it, not calibrated: no "
             "temperature is on its record")
    return answer


def shown(row: Mapping) -> str:
    """Return a prediction of `predict_texts` as a line for a terminal."""
    silent = "  (abstains)" if row.get("abstains") else ""
    label = row["label"]  # an answer may have lines
    label = escaping.one_line(label) if "probabilities" in row else label
    return f"{label}  {row['confidence']:.3f}  {escaping.one_line(row['text'])}{silent}"
