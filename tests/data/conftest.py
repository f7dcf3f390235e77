"""Small tables that the tests of rows and splits share."""

from pathlib import Path

import pandas as pd
import pytest

from ftzard.data.reading import read_raw

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
RATIO = {"train": 0.7, "validation": 0.1, "test": 0.2}


@pytest.fixture
def shared_data() -> Path:
    """The folder with real data beside the project; without it the test is skipped."""
    if not SHARED.is_dir():
        pytest.skip("no real data beside the project")
    return SHARED


@pytest.fixture
def raw():
    """Build a raw table from texts and, if given, labels and published splits."""

    def build(texts, labels=None, split=None, group=None) -> pd.DataFrame:
        columns = {"row": range(len(texts)), "text": texts, "label": labels}
        columns |= {"group": group, "split": split}
        frame = pd.DataFrame({name: c for name, c in columns.items() if c is not None})
        return frame.astype({name: "str" for name in frame if name != "row"})

    return build


@pytest.fixture
def seed_file(tmp_path):
    """Write a file in the seed's raw format and return a function that reads it."""

    def read(content: str | bytes, name: str = "training.csv", **options) -> pd.DataFrame:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_raw(path, **{"text_column": "text", "label_column": "target", **options})

    return read
