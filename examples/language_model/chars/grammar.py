"""Sentences of a small grammar: a text without end that every machine makes for itself, always the same."""

import math
import random
from collections.abc import Iterator

_WORDS = {
    "article": ("the", "a", "every", "this"),
    "adjective": ("old", "small", "clever", "tired", "green", "hungry", "quiet", "brave"),
    "noun": ("cat", "dog", "sailor", "painter", "fox", "teacher", "robot", "queen"),
    "verb": ("sees", "follows", "greets", "draws", "hears", "helps", "remembers", "avoids"),
    "place": ("near the river", "behind the house", "in the garden", "under a bridge"),
}
_PATTERNS = (
    ("article", "noun", "verb", "article", "noun"),
    ("article", "adjective", "noun", "verb", "article", "noun"),
    ("article", "noun", "verb", "article", "adjective", "noun", "place"),
)


def sentences(seed: int) -> Iterator[str]:
    """Sentences, each ended by a full stop and a space, for ever.

    Args:
        seed: Another one gives other sentences of the same language.
    """
    draw = random.Random(seed)
    while True:
        yield " ".join(draw.choice(_WORDS[kind]) for kind in draw.choice(_PATTERNS)) + ". "


def text(characters: int, seed: int = 0) -> str:
    """So many characters of it, the last sentence cut off."""
    parts, length = [], 0
    for sentence in sentences(seed):
        parts.append(sentence)
        length += len(sentence)
        if length >= characters:
            break
    return "".join(parts)[:characters]


def least_perplexity(sample: int = 10_000) -> float:
    """What a net would reach that knew the grammar and all that came before: every choice is even.

    Args:
        sample: Over so many sentences.
    """
    choices = {pattern: len(_PATTERNS) * math.prod(len(_WORDS[kind]) for kind in pattern) for pattern in _PATTERNS}
    nats = sum(map(math.log, choices.values())) / len(_PATTERNS)
    drawn = sentences(0)
    return math.exp(nats / (sum(len(next(drawn)) for _ in range(sample)) / sample))
