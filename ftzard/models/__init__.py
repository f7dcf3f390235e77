"""Bases, quantisation, adapters, tokenizers, batching, training and prediction.

The only package that imports torch, transformers, peft, bitsandbytes and optuna. It takes values
and tables and returns values and tables; it knows nothing of data versions, experiments or steps.
"""

import logging

# At import bitsandbytes reports that an optional kernel for one kind of CPU is not installed.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
