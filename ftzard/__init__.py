"""FTzard: continual fine-tuning of language models that refuses to be silently wrong."""

import warnings

__version__ = "0.1.0"

# Progress is printed as text, so nobody misses the widgets that tqdm would like to draw with.
warnings.filterwarnings("ignore", message="IProgress not found")
