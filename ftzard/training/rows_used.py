"""Which rows an adapter was trained on, where a notebook chose others than the split says.

`fit` notes the ids of its rows beside the adapter. They stay there only if they are not the rows
that the split, or the replay on record, gives by itself: those can be had again without a list.
"""

import json
from pathlib import Path

import pandas

from ftzard.core.artifacts import write_json
from ftzard.errors import ModelError

FILE = "rows.json"
SIDES = ("train", "validation")


def note(folder: Path, train: pandas.DataFrame, validation: pandas.DataFrame) -> None:
    """Write the ids of the rows beside an adapter, in the order in which `fit` got them."""
    if "id" in train and "id" in validation:
        write_json(folder / FILE, {"train": train["id"].tolist(),
                                   "validation": validation["id"].tolist()})


def settle(folder: Path, train: pandas.DataFrame, validation: pandas.DataFrame) -> bool:
    """Return whether an adapter had other rows than these; the list goes if it had not."""
    file = folder / FILE
    if not file.is_file():
        return False
    ids = json.loads(file.read_text(encoding="utf-8"))
    if ids == {"train": train["id"].tolist(), "validation": validation["id"].tolist()}:
        file.unlink()
        return False
    return True


def chosen(folder: Path, rows: pandas.DataFrame) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Return the rows, of all that are tokenized, that an adapter had for each side.

    Raises ModelError for an adapter without a list, or with ids that the rows do not have.
    """
    file = folder / FILE
    if not file.is_file():
        raise ModelError(f"{folder} does not say which rows it was trained on; expected {FILE}.")
    ids = json.loads(file.read_text(encoding="utf-8"))
    known = rows.set_index("id", drop=False)
    missing = [name for side in SIDES for name in ids[side] if name not in known.index]
    if missing:
        raise ModelError(
            f"{len(missing):,} of the rows that the model was trained on are not in its data "
            f"version, such as {missing[0]}: a notebook of the workspace made them itself, so they "
            "cannot be had again.")
    train, validation = (known.loc[ids[side]].reset_index(drop=True) for side in SIDES)
    return train, validation
