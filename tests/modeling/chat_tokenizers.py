"""Small tokenizers of the families that chat, each with its published chat template in short.

What differs between families is real: what a text begins with, what ends a turn, which markup is a
special token, a token that is not called special, or plain characters, and where blanks go.
"""

from pathlib import Path

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
)
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ftzard.modeling.tokenizer import load_tokenizer

WORDS = [
    "Name the capital of France.", "Paris", "Say hello to the user and to the assistant.",
    "system user assistant", "Below is an instruction that describes a task. Write a response",
    "### Instruction: ### Input: ### Response:", "What is two plus three? five", "Hello there",
] * 2
FALCON = (
    "{% for message in messages %}{% if not loop.first %}{{ '\\n' }}{% endif %}"
    "{% if message['role'] == 'system' %}{{ 'System: ' }}"
    "{% elif message['role'] == 'user' %}{{ 'User: ' }}"
    "{% elif message['role'] == 'assistant' %}{{ 'Falcon: ' }}{% endif %}"
    "{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\\n' + 'Falcon:' }}{% endif %}\n")
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}"
    "{% endif %}{% endfor %}")
LLAMA_3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
    " + message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
    "{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}")
QWEN = (
    "{% if messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nSay hello.<|im_end|>\\n' }}{% endif %}"
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' and loop.last %}{{ '<think>\\n\\n</think>\\n\\n' }}"
    "{% endif %}{{ message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")

#: family -> (special tokens, names of them, chat template)
_TOLD = {
    "falcon": ([">>TITLE<<", "<|endoftext|>"], dict(eos_token="<|endoftext|>"), FALCON),
    "mistral": (["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[control]"],
                dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>"), MISTRAL),
    "mistral_0.1": (["<unk>", "<s>", "</s>"],
                    dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>"), MISTRAL),
    "llama_3": (["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>",
                 "<|end_header_id|>", "<|eot_id|>", "<|reserved|>"],
                dict(bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>"), LLAMA_3),
    "qwen": (["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
             dict(eos_token="<|im_end|>", pad_token="<|endoftext|>"), QWEN),
    "tiny": (["<pad>", "<eos>"], dict(eos_token="<eos>", pad_token="<pad>"), None),
}
FAMILIES = tuple(_TOLD)
#: What begins a prompt and what ends an answer with the family's own template.
BEGINS = {"mistral": "<s>", "mistral_0.1": "<s>", "llama_3": "<|begin_of_text|>"}
ENDS = {"falcon": "<|endoftext|>", "mistral": "</s>", "mistral_0.1": "</s>",
        "llama_3": "<|eot_id|>", "qwen": "<|im_end|>", "tiny": "<eos>"}


def make(folder: Path, family: str, **names: str) -> PreTrainedTokenizerBase:
    """Return a family's tokenizer as a base's is loaded; names: special tokens called otherwise."""
    special, called, template = _TOLD[family]
    inside = (_pieces if family.startswith("mistral") else _bytes)(special, family)
    if family == "qwen":
        inside.add_tokens([AddedToken(t, normalized=False) for t in ("<think>", "</think>")])
    if family in BEGINS:
        begin = BEGINS[family]
        inside.post_processor = TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, inside.token_to_id(begin))])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inside, **{**called, **names})
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return load_tokenizer(folder)


def _bytes(special: list[str], family: str) -> Tokenizer:
    inside = Tokenizer(models.BPE())
    inside.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=family == "tiny")
    inside.decoder = decoders.ByteLevel()
    inside.train_from_iterator(WORDS, BpeTrainer(
        vocab_size=420, special_tokens=special, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    return inside


def _pieces(special: list[str], family: str) -> Tokenizer:
    """Return one that marks blanks and spells in bytes what it does not know, as Llama 2's does."""
    inside = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    if family == "mistral":
        inside.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        inside.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bytes_ = [f"<0x{number:02X}>" for number in range(256)]
    inside.train_from_iterator([w for text in WORDS for w in text.split()], BpeTrainer(
        vocab_size=460, special_tokens=[*special, *bytes_], show_progress=False))
    inside = _without_special(inside, bytes_)
    inside.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0)])
    return inside


def _without_special(inside: Tokenizer, words: list[str]) -> Tokenizer:
    """Return a tokenizer that has these words in its vocabulary, but as special tokens no more."""
    import json

    told = json.loads(inside.to_str())
    told["added_tokens"] = [t for t in told["added_tokens"] if t["content"] not in words]
    return Tokenizer.from_str(json.dumps(told))
