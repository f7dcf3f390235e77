"""What makes a run repeatable: the seeds and the number of threads, each set in one place."""

import random

import numpy
import torch


def set_threads(count: int) -> int:
    """Let torch compute with `count` threads; another count rounds differently. Return it."""
    torch.set_num_threads(count)
    return torch.get_num_threads()


def set_seed(seed: int) -> None:
    """Seed every random generator that training draws from (dropout, initial weights)."""
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)
