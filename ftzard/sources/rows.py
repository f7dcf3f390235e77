"""From the bytes of sources to raw rows, of one source or drawn from several."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ftzard.config.schema import Config
from ftzard.data import cleaning, mixing, reading, storage
from ftzard.errors import DataError
from ftzard.sources.open import Opened
from ftzard.tasks.base import Task, task_named


def _columns(config: Config, answers: bool = True) -> dict[str, str]:
    """Return name -> column of the user's files, of all that the config asks for."""
    data = config.data
    asked = {"text": data.text_column, "input": data.input_column,
             "messages": data.messages_column, "label": data.label_column if answers else None,
             "group": data.group_column,
             "split": data.split_column if data.split == "given" else None}
    return {name: column for name, column in asked.items() if column is not None}


def lacking(config: Config, opened: list[Opened]) -> set[str]:
    """Return the columns that one of several files may lack since another has them.

    A column that none has stays wanted, so that a slip in its name is reported.
    """
    data = config.data
    optional = task_named(config.task.kind).data.optional_columns(data)
    if not optional or sum(len(source.files) for source in opened) == 1:
        return set()
    there = {column for source in opened for file in source.files for column in reading.header(
        file, **reading.layout(data))}
    return there & optional


@dataclass(frozen=True)
class Reader:
    """Reads files as the config describes them: columns row, text and, by task, the others."""

    config: Config
    answers: bool
    lacking: Collection[str]

    def rows(self, opened: Opened) -> pd.DataFrame:
        """Return the raw rows of a source, numbered from 0; of several files with their names."""
        tables = [self._own(opened, file) if opened.own else self._read(file)
                  for file in opened.files]
        if len(tables) > 1 or opened.source.kind == "folder":
            tables = [table.assign(source=pd.Series(file.name, table.index, dtype="str"))
                      for table, file in zip(tables, opened.files, strict=True)]
        rows = pd.concat(tables, ignore_index=True)
        return rows.assign(row=range(len(rows)))

    def _read(self, file: Path) -> pd.DataFrame:
        return self._task.data.read(file, self.config.data, labelled=self.answers,
                                    lacking=self.lacking)

    def _own(self, opened: Opened, file: Path) -> pd.DataFrame:
        """Return rows of a table that FTzard itself cleaned as if they were raw once more."""
        data, table = self.config.data, storage.read_parquet(file).reset_index(drop=True)
        name = opened.source.name
        rows = self._task.data.raw_again(table, data, name, labelled=self.answers)
        grouped = "group" in table and (table["group"].fillna("") != "").any()
        if grouped and data.group_column is None:
            raise DataError(f"{name} has rows with groups, which decide their sides; set "
                            "data.group_column, under which they will go on.")
        return rows.assign(row=range(len(rows)))

    @property
    def _task(self) -> Task:
        return task_named(self.config.task.kind)


def draw(config: Config, opened: list[Opened], weights: Mapping[str, float], reader: Reader,
         identity: int) -> tuple[pd.DataFrame, list[dict]]:
    """Return the rows that are drawn, and the record of each source.

    Only usable rows are drawn; what is rejected is counted by source and held against the limit
    that a delivery has. A row that two sources share, by version `identity` of the rules, counts
    for the first by name.
    """
    part = task_named(config.task.kind).data
    raw, table, origins = {}, None, {}
    for source in opened:
        name = source.source.name
        raw[name] = reader.rows(source)
        usable, rejected = part.clean(raw[name], config.data, batch=name, identity=identity,
                                      cleaning=config.data.cleaning)
        try:
            cleaning.check_rejected(usable, rejected, labels=config.data.labels,
                                    max_rejected=config.data.max_rejected)
        except DataError as error:
            raise DataError(f"data.mix: '{name}': {error}") from error
        table, repeated = cleaning.append(table, usable, identity=identity,
                                          keys=part.text_keys, one_label=part.ONE_LABEL)
        origins[name] = {"rows": len(raw[name]), "weight": weights[name], "rejected": pd.concat(
            [rejected, repeated])["reason"].value_counts().to_dict()}
    parts = {}
    for name, rows in raw.items():
        usable = table.loc[table["batch"] == name, "row"].to_numpy()
        parts[name] = rows.iloc[usable]
        origins[name]["usable"] = len(usable)
    drawn = mixing.draw(parts, weights, seed=config.seed, most=config.data.sample_rows)
    drawn_rows = drawn["source"].value_counts()
    return drawn, [source.record(**origins[source.source.name],
                                 taken=int(drawn_rows[source.source.name]))
                   for source in opened]


def json_lines(rows: pd.DataFrame, config: Config) -> bytes:
    """Return raw rows as JSON lines under the user's own columns, in the user's encoding."""
    prompt = {"system": "system", "history": "history"}  # found by these names again
    columns = {n: c for n, c in {**_columns(config), **prompt, "source": reading.SOURCE}.items()
               if n in rows and not (n == "source" and (rows["source"] == "").all())}
    plain = config.data.encoding.lower().replace("_", "-") in ("utf-8", "utf8")
    lines = []
    for row in rows[list(columns)].fillna("").to_dict("records"):  # a source may lack a column
        cells = {column: _list(row[name]) if name in ("messages", "history") else row[name]
                 for name, column in columns.items()}
        lines.append(json.dumps(cells, ensure_ascii=not plain))
    return "".join(f"{line}\n" for line in lines).encode(config.data.encoding, errors="replace")


def _list(cell: str) -> object:
    """Return a list that is written as JSON, so that a file shows it as one; all else as it is."""
    try:
        value = json.loads(cell)
    except json.JSONDecodeError:
        return cell
    return value if isinstance(value, list | dict) else cell
