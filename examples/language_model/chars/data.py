"""A text as windows of characters, each to be continued by one character everywhere."""

from functools import cached_property
from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from chars.grammar import text


class Windows(Dataset[tuple[Tensor, Tensor]]):
    """Every ``context`` characters of a text, and the same window one character further on.

    Args:
        codes: The text, ``(N,)`` int64.
        context: Characters of a window.
    """

    def __init__(self, codes: Tensor, context: int) -> None:
        self.codes = codes
        self.context = context

    def __len__(self) -> int:
        return max(0, len(self.codes) - 1) // self.context

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        start = range(0, len(self) * self.context, self.context)[index]
        window = self.codes[start : start + self.context + 1]
        return window[:-1], window[1:]


class TextDataModule(LightningDataModule):
    """A text: the first eight tenths are trained on, the ninth validates, the last tests.

    Args:
        path: A text file in UTF-8; None is text of the grammar.
        characters: How much of the grammar's.
        context: Characters of a window.
        batch_size: Windows per process and step.
        num_workers: Processes that fetch them.

    Raises:
        ValueError: If there is no such file, or a window has no character.
    """

    def __init__(
        self,
        path: str | None = None,
        characters: int = 40_000,
        context: int = 64,
        batch_size: int = 32,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        if path is not None and not Path(path).expanduser().is_file():
            raise ValueError(f"path={path!r}: there is no such file")
        if context < 1:
            raise ValueError(f"context={context}: must be 1 at least")
        self.path = path
        self.characters = characters
        self.context = context
        self.batch_size = batch_size
        self.num_workers = num_workers

    @cached_property
    def text(self) -> str:
        """All of it."""
        if self.path is None:
            return text(self.characters)
        return Path(self.path).expanduser().read_text(encoding="utf-8")

    @cached_property
    def alphabet(self) -> list[str]:
        """Every character that the text has; the code of a character is its place here."""
        return sorted(set(self.text))

    def facts(self) -> dict[str, int]:
        """What the net has to know."""
        return {"vocab_size": len(self.alphabet)}

    def setup(self, stage: str) -> None:
        """Cut the text.

        Raises:
            ValueError: If a part is shorter than a window.
        """
        code = {character: index for index, character in enumerate(self.alphabet)}
        codes = torch.tensor([code[character] for character in self.text])
        self.train, self.val, self.test = (
            Windows(part, self.context) for part in codes.tensor_split([len(codes) * 8 // 10, len(codes) * 9 // 10])
        )
        if not (len(self.val) and len(self.test)):
            raise ValueError(
                f"{len(codes)} characters are too few for windows of {self.context}: a tenth has to hold one; "
                "choose a longer text or a smaller data.context"
            )

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """In another order every epoch."""
        return self._loader(self.train, shuffle=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """In the order of the text."""
        return self._loader(self.val)

    def test_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """In the order of the text."""
        return self._loader(self.test)

    def _loader(self, windows: Windows, *, shuffle: bool = False) -> DataLoader[tuple[Tensor, Tensor]]:
        return DataLoader(windows, batch_size=self.batch_size, shuffle=shuffle, num_workers=self.num_workers)
