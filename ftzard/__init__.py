"""FTzard: continual fine-tuning of language models that refuses to be silently wrong."""

__version__ = "0.1.0"
