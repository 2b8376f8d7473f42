"""What this project promises itself; none of it trains."""

import math
from pathlib import Path

import pytest
import torch
from chars.data import TextDataModule
from chars.grammar import least_perplexity, text
from chars.net import GRU
from chars.task import LanguageModel


def test_the_text_is_the_same_everywhere() -> None:
    assert text(50) == text(60)[:50] == "this old fox avoids this fox. every tired sailor h"
    assert 1.3 < least_perplexity(1_000) < 1.5


def test_every_character_is_to_be_followed_by_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("häuser am see. " * 20, encoding="utf-8")
    data = TextDataModule(str(tmp_path / "own.txt"), context=5)
    data.setup("fit")
    codes, following = data.train[1]
    assert "".join(data.alphabet[code] for code in codes) == "r am "
    assert "".join(data.alphabet[code] for code in following) == " am s"
    assert data.facts() == {"vocab_size": len(set("häuser am see. "))}
    with pytest.raises(ValueError, match=r"data\.context"):
        TextDataModule(str(tmp_path / "own.txt"), context=64).setup("fit")


def test_a_net_that_knows_nothing_has_to_choose_of_all_characters() -> None:
    task = LanguageModel(GRU(vocab_size=20))
    torch.nn.init.zeros_(task.net.name.weight)
    torch.nn.init.zeros_(task.net.name.bias)
    loss = task.step((torch.zeros(3, 7, dtype=torch.long), torch.ones(3, 7, dtype=torch.long)))["loss"]
    assert task.summarize({"loss": loss.item()})["perplexity"] == pytest.approx(20)
    assert loss.item() == pytest.approx(math.log(20))
