"""Lines of a file predicted on a cluster: the same batches as here, in fixed shards of them.

The file is read once and sent shard by shard; what comes back is written shard by shard. Neither is
ever whole in memory.
"""

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftzard.compute import shards
from ftzard.compute.cluster import Cluster
from ftzard.registry import line_answers, lookup
from ftzard.registry.requests import Line
from ftzard.workspace.workspace import Workspace

if TYPE_CHECKING:
    from ftzard.compute.worker import Work
    from ftzard.config.schema import Config

#: Batches of a shard.
SHARD_BATCHES = 32


def predict(workspace: Workspace, config: "Config", files: lookup.Files,
            read: Iterable[list[Line]]) -> Iterator[tuple[int, bool, str]]:
    """Yield (line number, whether it could not be predicted, JSON) of each line of batches."""
    cluster = Cluster(config.compute, config.threads, workspace.state,
                      lambda line: print(line, file=sys.stderr, flush=True))
    model = {name: value for name, value in asdict(files).items() if name not in ("version",
                                                                                  "adapter")}
    inputs: dict[str, Any] = {}
    if files.adapter is not None:
        inputs["adapter"] = cluster.input_folder(Path(files.adapter))
    if Path(files.base["source"]).is_dir():
        inputs["base"] = cluster.input_folder(Path(files.base["source"]))
        model["base"] = {**files.base, "source": None}
    values = {"model": json.loads(json.dumps(model)), "threads": config.threads,
              "abstain_below": config.task.abstain_below}
    with tempfile.TemporaryDirectory(prefix="ftzard-lines-") as scratch:
        part, batches, sent = Path(scratch) / "part", iter(read), []
        while shard := list(islice(batches, SHARD_BATCHES)):
            part.write_text(json.dumps([[asdict(line) for line in batch] for batch in shard]),
                            encoding="utf-8")
            sent.append(cluster.input_file(part))
        for result in shards.run(cluster, "predict_lines", values, inputs, sent, _shown):
            part.unlink(missing_ok=True)
            bad = set(result.values["bad"])
            with open(result.fetch("lines.jsonl", part), encoding="utf-8", newline="\n") as lines:
                for number, line in zip(result.values["numbers"], lines, strict=True):
                    yield number, number in bad, line.removesuffix("\n")


def _shown(done: int, total: int) -> None:
    print(f"{done} of {total} shards", file=sys.stderr, flush=True)


def predict_request(values: Mapping[str, Any], inputs: Mapping[str, Path], work: "Work"
                    ) -> dict[str, Any]:
    """Predict the shards of lines that no other attempt has predicted; runs on a node."""
    from ftzard.modeling import reproducibility

    reproducibility.set_threads(values["threads"])
    model = values["model"]
    base = {**model["base"], "source": str(inputs["base"]) if "base" in inputs
            else model["base"]["source"]}
    answer = line_answers.answering(
        lookup.Files(**{**model, "version": None, "adapter": inputs.get("adapter"), "base": base}),
        values["abstain_below"])

    def one(source: Path, folder: Path) -> dict[str, Any]:
        numbers, bad = [], []
        with open(folder / "lines.jsonl", "w", encoding="utf-8", newline="\n") as out:
            for batch in json.loads(source.read_text(encoding="utf-8")):
                for answer_line in line_answers.answered([Line(**line) for line in batch], answer):
                    numbers.append(answer_line["line"])
                    bad += [answer_line["line"]] if "error" in answer_line else []
                    out.write(line_answers.as_json(answer_line) + "\n")
        return {"numbers": numbers, "bad": bad}

    return work.compute_shards(values, one)
