"""The architectures of the bases that ship as choices, as the config.json of each says.

With them a plan needs neither network nor token: sizes are public, weights may be gated.
"""

from collections.abc import Mapping

from transformers import (
    BertConfig,
    DistilBertConfig,
    FalconConfig,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    Qwen2Config,
)

_KNOWN: Mapping[str, tuple[type[PretrainedConfig], dict]] = {
    "tiiuae/falcon-7b": (FalconConfig, {
        "vocab_size": 65024, "hidden_size": 4544, "num_hidden_layers": 32,
        "num_attention_heads": 71, "multi_query": True, "parallel_attn": True, "bias": False,
        "alibi": False, "new_decoder_architecture": False, "max_position_embeddings": 2048,
        "bos_token_id": 11, "eos_token_id": 11}),
    "mistralai/Mistral-7B-Instruct-v0.2": (MistralConfig, {
        "vocab_size": 32000, "hidden_size": 4096, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
        "max_position_embeddings": 32768, "sliding_window": None}),
    "mistralai/Mistral-7B-Instruct-v0.3": (MistralConfig, {
        "vocab_size": 32768, "hidden_size": 4096, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
        "max_position_embeddings": 32768, "sliding_window": None}),
    "meta-llama/Meta-Llama-3-8B": (LlamaConfig, {
        "vocab_size": 128256, "hidden_size": 4096, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
        "max_position_embeddings": 8192}),
    "Qwen/Qwen2.5-7B": (Qwen2Config, {
        "vocab_size": 152064, "hidden_size": 3584, "num_hidden_layers": 28,
        "num_attention_heads": 28, "num_key_value_heads": 4, "intermediate_size": 18944,
        "max_position_embeddings": 131072}),
    "distilbert/distilbert-base-uncased": (DistilBertConfig, {}),
    "sentence-transformers/all-MiniLM-L6-v2": (BertConfig, {
        "vocab_size": 30522, "hidden_size": 384, "num_hidden_layers": 6,
        "num_attention_heads": 12, "intermediate_size": 1536, "max_position_embeddings": 512}),
}


def architecture(source: str) -> PretrainedConfig | None:
    """Return the architecture of a hub id that is known here, or None."""
    known = _KNOWN.get(source)
    if known is None:
        return None
    kind, values = known
    return kind(**values)


def tokenizer_is_here(source: str, revision: str | None) -> bool:
    """Return whether a hub's tokenizer lies in the local cache, so that no network is needed."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(source, "tokenizer.json", revision=revision), str)
