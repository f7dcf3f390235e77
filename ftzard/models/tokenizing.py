"""Tokenizers: loading one with a pad token of its own, and turning texts into token ids."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from ftzard.errors import ModelError
from ftzard.models.quiet import quiet_loading


def load_tokenizer(source: str | Path, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a base, right-padding, its pad token distinct from its eos token.

    source: folder, or hub id with `revision`. Markup such as '<eos>' inside a text is read as
    plain characters. Raises ModelError if it cannot be loaded or has no usable pad token.
    """
    try:
        with quiet_loading():
            tokenizer = AutoTokenizer.from_pretrained(str(source), revision=revision, use_fast=True)
    except Exception as error:
        raise ModelError(
            f"tokenizer of '{source}' (revision {revision}) cannot be loaded: {error}. Expected "
            "tokenizer.json in the folder, or a reachable hub id."
        ) from error
    tokenizer.padding_side = "right"
    tokenizer.pad_token = _pad_token(tokenizer, source)
    tokenizer.split_special_tokens = True
    tokenizer.backend_tokenizer.encode_special_tokens = True
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def _pad_token(tokenizer: PreTrainedTokenizerBase, source: str | Path) -> str:
    """Return the tokenizer's own pad token, or a special token of its vocabulary that is unused.

    A pad token equal to eos hides where a text ends, so it is never accepted.
    """
    if tokenizer.pad_token is not None and tokenizer.pad_token_id != tokenizer.eos_token_id:
        return tokenizer.pad_token
    taken = {tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.unk_token_id}
    free = [
        token.content
        for number, token in sorted(tokenizer.added_tokens_decoder.items())
        if token.special and number not in taken
    ]
    if free:
        return free[-1]
    raise ModelError(
        f"tokenizer of '{source}': pad token {tokenizer.pad_token!r} and eos token "
        f"{tokenizer.eos_token!r}; expected a pad token distinct from eos, and its vocabulary has "
        "no unused special token to take. Add one to the tokenizer's files, or choose another base."
    )


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a hex SHA-256 over all that decides which ids a text becomes, and the pad id."""
    content = [tokenizer.backend_tokenizer.to_str(), tokenizer.pad_token_id, tokenizer.eos_token_id]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def encode(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> tuple[list[list[int]], numpy.ndarray, numpy.ndarray]:
    """Return (input_ids, length, cut) of texts.

    input_ids: a list of ids per text, each ending in the eos token, at most `max_length` long;
    length: int32, ids per text; cut: int32, tokens of the text lost to `max_length` (0: none).
    """
    if max_length < 2:
        raise ModelError(f"max_length is {max_length}; expected at least 2 (one token and eos).")
    encodings = tokenizer.backend_tokenizer.encode_batch(list(texts), add_special_tokens=False)
    kept = max_length - 1
    input_ids = [encoding.ids[:kept] + [tokenizer.eos_token_id] for encoding in encodings]
    length = numpy.array([len(ids) for ids in input_ids], dtype=numpy.int32)
    cut = numpy.array([max(0, len(e.ids) - kept) for e in encodings], dtype=numpy.int32)
    return input_ids, length, cut
