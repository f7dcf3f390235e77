"""A small Falcon made from a seed: the architecture of Falcon-7B, a few million parameters.

Same parts (parallel attention, multi-query, rotary positions, no biases) and therefore the same
code path as the large one, but built inside the workspace in seconds, with a byte-level BPE
tokenizer trained on the texts at hand. The weights are random: only what is trained on top of
them and the embeddings carries knowledge.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import FalconConfig, FalconForCausalLM, PreTrainedTokenizerFast

from ftzard.core.archive import whole_folder
from ftzard.errors import ModelError
from ftzard.modeling.hf_logging import quiet_loading

PAD, EOS = "<pad>", "<eos>"


def build(
    folder: Path,
    texts: Iterable[str],
    *,
    seed: int,
    layers: int = 4,
    width: int = 256,
    heads: int = 4,
    vocabulary: int = 8192,
    max_positions: int = 512,
) -> Path:
    """Write a tokenizer trained on `texts` and a randomly initialised Falcon into `folder`.

    The same texts, seed and sizes give the same bytes. The folder appears complete or not at all,
    and replaces one of the same name.

    Args:
        layers: Transformer blocks.
        width: Size of the hidden state, a multiple of 2 * heads.
        vocabulary: Most tokens the tokenizer may learn, special ones included.
        max_positions: Longest text in tokens.

    Raises:
        ModelError: If there is no text or the sizes do not fit each other.
    """
    texts = [text for text in texts if text]
    if not texts:
        raise ModelError("falcon_tiny: 0 non-empty texts to train the tokenizer on; expected some.")
    if width % (2 * heads):
        raise ModelError(
            f"falcon_tiny: width {width} with {heads} heads; expected a width that is a multiple "
            f"of {2 * heads}, because rotary positions need an even number of values per head."
        )
    if vocabulary < 258:
        raise ModelError(
            f"falcon_tiny: vocabulary {vocabulary}; expected at least 258 (256 bytes, pad, eos)."
        )
    tokenizer = _train_tokenizer(texts, vocabulary, max_positions)
    config = architecture(
        layers=layers, width=width, heads=heads, vocabulary=len(tokenizer),
        max_positions=max_positions, pad=tokenizer.pad_token_id, eos=tokenizer.eos_token_id)
    with torch.random.fork_rng(devices=[]), quiet_loading():
        torch.manual_seed(seed)
        model = FalconForCausalLM(config)
    return _write(folder, model, tokenizer)


def architecture(
    *,
    layers: int,
    width: int,
    heads: int,
    vocabulary: int,
    max_positions: int = 512,
    pad: int = 0,
    eos: int = 1,
) -> FalconConfig:
    """Return the architecture of these sizes; pad, eos: ids of the special tokens."""
    return FalconConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        ffn_hidden_size=4 * width,
        max_position_embeddings=max_positions,
        multi_query=True,
        parallel_attn=True,
        new_decoder_architecture=False,
        alibi=False,
        bias=False,
        # At the usual 0.02 the blocks add next to nothing to the embeddings, and training finds
        # the words but not their order.
        initializer_range=width**-0.5,
        bos_token_id=eos,
        eos_token_id=eos,
        pad_token_id=pad,
    )


def _train_tokenizer(texts: list[str], vocabulary: int, max_positions: int):
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=[PAD, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        padding_side="right",
        model_max_length=max_positions,
    )


def _write(folder: Path, model: FalconForCausalLM, tokenizer: PreTrainedTokenizerFast) -> Path:
    with whole_folder(folder) as part, quiet_loading():
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        (part / "generation_config.json").unlink(missing_ok=True)
    return Path(folder)
