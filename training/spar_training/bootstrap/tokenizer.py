"""The pair's tokenizer: one token for each word of the small world, and bytes for everything else.

It is a byte-level BPE whose vocabulary contains the world's words (`ignore_merges`, as in Llama 3), so that its texts
have one token per word and any other text is still encoded exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

BOS: Final = "<|bos|>"
PAD: Final = "<|pad|>"
END: Final = "<|end|>"
ROLES: Final = ("<|system|>", "<|user|>", "<|assistant|>")
SPECIAL_TOKENS: Final = (PAD, BOS, END, *ROLES)
CHAT_TEMPLATE: Final = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# A word or a digit with the space before it, a mark, a line break or a run of spaces.
_PIECES: Final = r" ?\p{L}+| ?\p{N}| ?<<| ?->|\[\[|\]\]|\*\*\*| ?[^\s\p{L}\p{N}]|\n|\s+"
# Merges for other text: the most frequent letter pairs of English first.
_PAIRS: Final = (
    "th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io le ve co "
    "me de hi ri ro ic ne ea ra ce li ch ll be ma si om ur"
).split()


def build_tokenizer(texts: Iterable[str], *, min_count: int, context: int) -> PreTrainedTokenizerFast:
    """Build a tokenizer from texts of the world.

    A piece that occurs at least `min_count` times becomes a token. `context` is the model's context window in tokens.
    """
    split = pre_tokenizers.Split(Regex(_PIECES), "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    pre = pre_tokenizers.Sequence([split, as_bytes])
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(piece for piece, _ in pre.pre_tokenize_str(text))
    words = sorted(piece for piece, count in counts.items() if count >= min_count)
    merges = [(first, second) for pair in _PAIRS for first, second in [tuple(pair)]]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = dict.fromkeys([*SPECIAL_TOKENS, *alphabet, *("".join(pair) for pair in merges), *words])
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
