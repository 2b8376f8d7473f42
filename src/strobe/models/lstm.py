"""Recurrent networks that read an image row by row."""

from typing import Literal

from torch import Tensor, nn

from strobe.models.layers import image_shape


class LSTM(nn.Module):
    """The rows of an image as a sequence; the last state gives the class.

    Args:
        in_shape: ``(channels, height, width)`` of an image; a row holds ``channels * width`` numbers.
        num_classes: Number of outputs.
        hidden: Units of each layer.
        layers: Number of recurrent layers.
        cell: ``lstm`` or ``gru``.
        bidirectional: Read from below too.
        dropout: Probability between layers and before the output.
    """

    def __init__(
        self,
        *,
        in_shape: tuple[int, int, int],
        num_classes: int,
        hidden: int = 128,
        layers: int = 1,
        cell: Literal["lstm", "gru"] = "lstm",
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels, _, width = image_shape(in_shape, "LSTM")
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
        self.recurrent = kind(
            channels * width,
            hidden,
            layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0.0,  # torch's is between layers, and warns where there is one
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden * (2 if bidirectional else 1), num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(B, C, H, W)`` to logits ``(B, num_classes)``."""
        rows = images.transpose(1, 2).flatten(2)  # (B, H, C * W)
        states, _ = self.recurrent(rows)
        last = states[:, -1]
        if self.recurrent.bidirectional:
            hidden = self.recurrent.hidden_size
            last = last.clone()
            last[:, hidden:] = states[:, 0, hidden:]  # the backward direction ends at the first row
        logits: Tensor = self.head(self.dropout(last))
        return logits
