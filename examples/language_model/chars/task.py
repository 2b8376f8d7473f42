"""What a language model is trained for, and how it is judged."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from strobe.tasks import Task


class LanguageModel(Task):
    """Trains a net to say which character comes next.

    ``perplexity`` is the exponential of the mean loss: of so many characters, equally likely, the net would have to
    choose at every place.

    Args:
        net: Maps codes ``(B, T)`` to logits ``(B, T, vocab_size)``.
    """

    metrics: ClassVar = {"loss": "min", "perplexity": "min"}

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.example_input_array = torch.zeros(1, 16, dtype=torch.long)

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes ``(B, T)`` to logits ``(B, T, vocab_size)``."""
        logits: Tensor = self.net(codes)
        return logits

    def step(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Mean loss over all characters; windows are of one length, so examples weigh the same."""
        codes, following = batch
        return {"loss": F.cross_entropy(self(codes).float().flatten(0, 1), following.flatten())}

    def summarize(self, means: dict[str, float]) -> dict[str, float]:
        """Perplexity is no mean over batches, but follows from one."""
        return {**means, "perplexity": math.exp(means["loss"])}
