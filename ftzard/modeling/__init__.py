"""Base models, adapters and tokenizers: loading, quantisation, checks, memory.

With training and tasks it is the only place that imports torch, transformers, peft, bitsandbytes
and optuna. It knows nothing of data versions, experiments or steps.
"""

import logging

# At import bitsandbytes reports that an optional kernel for one kind of CPU is not installed.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
