"""A recurrent net that says, after every character, which one comes next."""

from torch import Tensor, nn


class GRU(nn.Module):
    """Characters are embedded, read from left to right, and each hidden state names the next character.

    Args:
        vocab_size: Number of characters there are.
        embedding: Numbers that stand for a character.
        hidden: Units of each layer.
        layers: Number of layers.
        dropout: Between layers; needs two of them.
    """

    def __init__(
        self, vocab_size: int, *, embedding: int = 32, hidden: int = 128, layers: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab_size, embedding)
        self.read = nn.GRU(embedding, hidden, layers, batch_first=True, dropout=dropout)
        self.name = nn.Linear(hidden, vocab_size)

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes ``(B, T)`` to logits ``(B, T, vocab_size)`` of the character after each."""
        states, _ = self.read(self.embed(codes))
        logits: Tensor = self.name(states)
        return logits
