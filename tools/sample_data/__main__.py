"""Write the sample data that ships with the tasks: written by seeded grammars, not collected.

    python -m tools.sample_data

One module makes the sample of each task: `generator` that of classification, `instructions` that
of instruction tuning.
"""

import gzip
import tempfile
from pathlib import Path

from tools.sample_data import generator, instructions

TASKS = Path(__file__).parents[2] / "ftzard" / "tasks"
MAKERS = {"classification": generator.write, "instruction_tuning": instructions.write}


def main() -> None:
    """Generate every sample and pack its files into the package."""
    for task, write in MAKERS.items():
        target = TASKS / task / "sample"
        target.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            for file in write(Path(folder)).values():
                packed = gzip.compress(file.read_bytes(), mtime=0)
                (target / f"{file.name}.gz").write_bytes(packed)


if __name__ == "__main__":
    main()
