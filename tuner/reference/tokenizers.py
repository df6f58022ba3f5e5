"""Tokenizers without files: a token is a character, and every prompt has tokens of its own."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from typing import Any


def clip(vocab_size: int, pad_token: str, model_max_length: int) -> Any:
    """A CLIPTokenizer whose ids lie where the published vocabulary has them.

    The bytes come first and the two special tokens last: a text encoder whose ``eos_token_id`` is 2
    pools at the highest id, which must therefore be the end of the text.
    """
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    tokens = letters + [f"{letter}</w>" for letter in letters]
    ids = {token: index for index, token in enumerate(tokens)}
    ids |= {"<|startoftext|>": vocab_size - 2, "<|endoftext|>": vocab_size - 1}
    return CLIPTokenizer(
        vocab=ids, merges=[], pad_token=pad_token, model_max_length=model_max_length
    )


def t5(model_max_length: int) -> Any:
    """A T5Tokenizer of the printable ASCII characters; any other is the unknown token."""
    from transformers import T5Tokenizer

    letters = ["▁", *string.digits, *string.ascii_letters, *string.punctuation]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocab = special + [(letter, -2.0) for letter in letters]
    return T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=model_max_length)


MAKERS: Mapping[str, Callable[..., Any]] = {"CLIPTokenizer": clip, "T5Tokenizer": t5}
