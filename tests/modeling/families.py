"""Small random bases of the families that the shipped configs name, each in a folder of its own.

Every family has the tokenizer that its large ones have, in small: what it puts around a text, the
pad token it brings (none, its own, or one that ends texts as well) and the side it pads on.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    DistilBertConfig,
    DistilBertModel,
    FalconConfig,
    FalconForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

FAMILIES = ("falcon", "distilbert", "mistral", "llama", "qwen")
#: Linear layers of a block, without biases or norms.
LINEAR = {
    "falcon": ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
    "distilbert": ("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"),
    "mistral": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
}
LINEAR |= {"llama": LINEAR["mistral"], "qwen": LINEAR["mistral"]}
LAYERS, WIDTH, POSITIONS = 2, 64, 64


def build(folder: Path, family: str, texts: Iterable[str], seed: int = 0) -> Path:
    """Write a random base of a family, with a tokenizer made of texts, and return its folder."""
    folder.mkdir(parents=True)
    size = _write_tokenizer(folder, family, list(texts))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _model(family, size)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    return folder


def _model(family: str, size: int):
    shared = dict(vocab_size=size, initializer_range=0.12)
    if family == "distilbert":
        return DistilBertModel(DistilBertConfig(
            **shared, dim=WIDTH, hidden_dim=2 * WIDTH, n_layers=LAYERS, n_heads=4,
            max_position_embeddings=POSITIONS, pad_token_id=0))
    shared |= dict(hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=4,
                   max_position_embeddings=POSITIONS)
    if family == "falcon":
        return FalconForCausalLM(FalconConfig(
            **shared, ffn_hidden_size=2 * WIDTH, bias=False, bos_token_id=1, eos_token_id=1))
    kinds = {"mistral": (MistralConfig, MistralForCausalLM),
             "llama": (LlamaConfig, LlamaForCausalLM), "qwen": (Qwen2Config, Qwen2ForCausalLM)}
    config, model = kinds[family]
    return model(config(**shared, num_key_value_heads=2, intermediate_size=2 * WIDTH))


def _write_tokenizer(folder: Path, family: str, texts: list[str]) -> int:
    special = {
        "falcon": ["<pad>", "<eos>"],
        "distilbert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        "mistral": ["<unk>", "<s>", "</s>", "[control]"],
        "llama": ["<unk>", "<s>", "</s>", "<reserved>"],
        "qwen": ["<|endoftext|>", "<|video_pad|>"],
    }[family]
    inside, unknown = (_bytes if family == "qwen" else _words)(special, texts)
    names = {
        "falcon": dict(eos_token="<eos>", pad_token="<pad>"),
        "distilbert": dict(pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
                           mask_token="[MASK]"),
        "mistral": dict(bos_token="<s>", eos_token="</s>", padding_side="left"),
        "llama": dict(bos_token="<s>", eos_token="</s>"),
        "qwen": dict(eos_token="<|endoftext|>", pad_token="<|endoftext|>"),
    }[family]
    frame = {"distilbert": "[CLS] $A [SEP]", "mistral": "<s> $A", "llama": "<s> $A"}.get(family)
    ids = inside.get_vocab()
    if frame is not None:
        inside.post_processor = processors.TemplateProcessing(
            single=frame, special_tokens=[(w, ids[w]) for w in frame.split() if w in ids])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inside, unk_token=unknown, **names)
    tokenizer.save_pretrained(folder)
    return len(ids)


def _words(special: list[str], texts: list[str]) -> tuple[Tokenizer, str]:
    """Return a tokenizer of whole words and its token for others."""
    unknown = next((word for word in special if "unk" in word.lower()), "?")
    words = sorted({word for text in texts for word in text.split()})
    ids = {word: number for number, word in enumerate(dict.fromkeys([*special, unknown, *words]))}
    inside = Tokenizer(models.WordLevel(ids, unk_token=unknown))
    inside.pre_tokenizer = pre_tokenizers.Whitespace()
    inside.add_special_tokens(special)
    return inside, unknown


def _bytes(special: list[str], texts: list[str]) -> tuple[Tokenizer, None]:
    """Return a tokenizer of pairs of bytes; transformers makes every Qwen's into one."""
    inside = Tokenizer(models.BPE())
    inside.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inside.decoder = decoders.ByteLevel()
    inside.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    return inside, None
