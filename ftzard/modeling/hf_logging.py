"""Silence for messages that say nothing: expected warnings and bars of the model libraries.

Whatever matters about a load is checked and raised by this package itself.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging

_LOGGERS = ("bitsandbytes", "accelerate", "peft", "huggingface_hub")


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Let only errors of transformers, peft, bitsandbytes and accelerate through."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
