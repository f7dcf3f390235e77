"""What the folder of a saved adapter says about itself; read without loading any model.

Whatever a method trains is called an adapter here, be it the whole model.
"""

import json
from pathlib import Path

from ftzard.errors import ModelError
from ftzard.modeling.head import DEFAULT_HEAD

META = "ftzard.json"
WEIGHTS = "adapter_model.safetensors"
WHOLE = "model.safetensors"


def read_meta(folder: Path) -> dict:
    """Return what `ftzard.json` in an adapter's folder says.

    task: what the model is for, 'classification' in folders without the entry;
    method: 'lora', the same, 'rslora', 'dora' or 'full';
    lora: rank, alpha, dropout, train_embeddings, or None for 'full'. Raises ModelError if the
    folder is no adapter of ours.
    """
    path = Path(folder) / META
    if not path.is_file():
        raise ModelError(
            f"{folder} holds no {META}; expected the folder of an adapter saved by ftzard."
        )
    meta = json.loads(path.read_text(encoding="utf-8"))
    return {"method": "lora", "task": DEFAULT_HEAD.task} | meta


def weights_file(folder: Path) -> Path:
    """Return the file of what was trained: an adapter's weights, or a whole model's.

    Raises ModelError if the folder has neither.
    """
    for name in (WEIGHTS, WHOLE):
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    raise ModelError(f"{folder} holds neither {WEIGHTS} nor {WHOLE}; expected what was trained.")
