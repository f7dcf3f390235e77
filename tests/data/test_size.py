"""More text than there is memory for is refused with a sentence, before the memory is taken."""

import gzip
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ftzard.errors import DataError
from ftzard.registry import input_lines

MB = 1 << 20
# Run in a process that may take so many more bytes than its imports did.
LIMITED = """
import resource, sys
from pathlib import Path
import ftzard.registry.input_lines as input_lines, ftzard.registry.predict
from ftzard.data import reading; from ftzard.data.labeling import labeling_queue as labelling
from ftzard.errors import FtzardError
from ftzard.workspace import memory
from ftzard.config.pipeline import BY_NAME
from ftzard.core.artifacts import ArtifactRef
from ftzard.workspace.workspace import Workspace
path, room, what = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
size = int(next(l for l in open("/proc/self/status") if l.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + room, size + room))
try:
    if what == "read":
        print(len(reading.read_raw(path, text_column="text", label_column="label")))
    elif what == "count":
        print(reading.count_lines(path))
    elif what == "label":
        print(labelling.count_lines(path))
    elif what == "step":
        memory.require_memory(BY_NAME["cleaning"], [ArtifactRef("raw", path.name, "", None, "csv")],
                              Workspace(path.parent))
        print("begins")
except FtzardError as error:
    print("refused:", error)
"""


def within(path: Path, room: int, what: str = "read") -> str:
    """Return what is said of a file by a process with so much room in memory."""
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path), str(room), what], text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def bomb(tmp_path_factory) -> Path:
    """A file of less than a megabyte with 200 MB inside."""
    path = tmp_path_factory.mktemp("bomb") / "rows.csv.gz"
    rows = b"the same words again and again,glad\n" * 30_000
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(b"text,label\n")
        for _ in range(200 * MB // len(rows)):
            stream.write(rows)
    assert path.stat().st_size < 2 * MB
    return path


@pytest.mark.parametrize("what", ["read", "count", "label"])
def test_a_small_gzip_file_with_much_inside_is_refused_in_pieces(bomb, what):
    said = within(bomb, 400 * MB, what)
    assert said.startswith(f"refused: {bomb} holds more than 50 MB once decompressed"), said
    assert "about 8 times as much memory" in said and "in parts" in said


def test_a_file_that_fits_is_read_with_the_memory_that_it_was_said_to_take(tmp_path):
    """The factor holds: eight times the text's size is enough to read it."""
    path = tmp_path / "rows.csv"
    rows = 200_000
    path.write_text("text,label\n" + "".join(
        f"a text of some length with the number {n} in it and then some more,glad\n"
        for n in range(rows)))
    size = path.stat().st_size
    assert within(path, 8 * size + 8 * MB).strip() == str(rows)
    assert "refused" in within(path, 7 * size)


def test_a_parquet_file_that_holds_more_than_it_says_is_refused(tmp_path):
    """One long cell, stored once and repeated."""
    path = tmp_path / "rows.parquet"
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 500_000, pa.int32()),
                                          pa.array(["a" * 20_000]))
    pq.write_table(pa.table({"text": text, "label": pa.array(["glad"] * 500_000)}), path)
    assert path.stat().st_size < MB
    said = within(path, 600 * MB)
    assert "refused" in said and "once unpacked" in said, said
    plain = tmp_path / "plain.parquet"
    pq.write_table(pa.table({"text": text.slice(0, 5_000).cast(pa.large_string()),
                             "label": ["glad"] * 5_000}), plain, store_schema=False)
    said = within(plain, 600 * MB)
    assert "refused" in said and "once unpacked" in said, said


def test_a_parquet_file_that_says_it_is_large_is_not_begun(tmp_path):
    path = tmp_path / "rows.parquet"
    rows = 100_000
    pq.write_table(pa.table({"text": [f"{n:0400d}" for n in range(rows)],
                             "label": ["glad"] * rows}), path, compression="zstd")
    said = within(path, 200 * MB)
    assert "MB as it says itself, and at most 25 MB" in said, said


def test_a_step_says_how_much_memory_its_rows_need_before_it_begins(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes((b"x" * 63 + b"\n") * (5 * MB // 64))  # 20 a byte and 550 a row make 143
    said = within(path, 80 * MB, "step")
    assert said.startswith("refused: cleaning needs about 143 MB of memory for its rows"), said
    assert "hand the rows in in parts" in said
    assert within(path, 200 * MB, "step") == "begins\n"
    with gzip.open(tmp_path / "rows.csv.gz", "wb", compresslevel=1) as stream:
        stream.write(path.read_bytes())
    assert "needs about 143 MB" in within(tmp_path / "rows.csv.gz", 80 * MB, "step")
    pq.write_table(pa.table({"text": ["x" * 100 + str(n) for n in range(60_000)]}),
                   tmp_path / "rows.parquet", compression="gzip", use_dictionary=False)
    assert "cleaning needs about" in within(tmp_path / "rows.parquet", 80 * MB, "step")


@pytest.mark.parametrize(("kind", "encoding"), [("txt", "utf-8"), ("txt", "utf-16"),
                                                ("csv", "utf-8")])
def test_a_stream_whose_line_does_not_end_is_refused_before_it_is_held_whole(tmp_path, kind,
                                                                             encoding):
    """24 million signs in one line of a small file; no more than may be a line is kept."""
    path = tmp_path / f"rows.{kind}.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write("text\nfirst\n".encode(encoding))
        piece = ("a" * MB).encode(encoding.replace("16", "16-le"))
        for _ in range(24):
            stream.write(piece)
    read = []
    with pytest.raises(DataError, match="line 3 has more than 16 MB and no end"), \
            input_lines.opened(str(path), encoding) as stream:
        if kind == "csv":
            for row in input_lines.csv_rows(stream, encoding, ",", "csv"):
                read.append(row.cells)
        else:
            for lines in input_lines.text_lines(stream, encoding):
                read += [[line.raw] for line in lines]
    assert all(len(cells[0]) < 100 for cells in read)


def test_a_cell_over_many_lines_ends_at_the_same_length(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('text\nfirst\n"' + ("a" * 1000 + "\n") * 17_000 + '"\nlast\n')
    with input_lines.opened(str(path), "utf-8") as stream:
        rows = list(input_lines.csv_rows(stream, "utf-8", ",", "csv"))
    assert rows[1].cells == ["first"] and "field larger than field limit" in rows[2].error
