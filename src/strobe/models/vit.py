"""A tiny vision transformer."""

import torch
from torch import Tensor, nn

from strobe.models.layers import image_shape


class ViT(nn.Module):
    """Patches as tokens, a transformer encoder with normalization first, the mean over tokens gives the class.

    Args:
        in_shape: ``(channels, height, width)`` of an image; ``patch`` has to divide height and width.
        num_classes: Number of outputs.
        patch: Side of a patch in pixels.
        dim: Width of a token.
        depth: Number of encoder layers.
        heads: Attention heads; have to divide ``dim``.
        mlp_ratio: Width of a layer's hidden units, in units of ``dim``.
        dropout: Probability after attention and within the hidden units.

    Raises:
        ValueError: If the patches don't tile the image, or the heads don't divide the width.

    Source: Dosovitskiy et al.: An image is worth 16x16 words, 2020; mean pooling after Zhai et al.: Scaling vision
    transformers, 2021.
    """

    def __init__(
        self,
        *,
        in_shape: tuple[int, int, int],
        num_classes: int,
        patch: int = 4,
        dim: int = 64,
        depth: int = 4,
        heads: int = 4,
        mlp_ratio: float = 2.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels, height, width = image_shape(in_shape, "ViT")
        if height % patch or width % patch:
            sizes = [size for size in range(2, min(height, width) + 1) if height % size == 0 and width % size == 0]
            raise ValueError(f"model.patch={patch} does not divide {height}x{width} images: choose one of {sizes}")
        if dim % heads:
            raise ValueError(f"model.heads={heads} does not divide model.dim={dim}")
        self.patches = nn.Conv2d(channels, dim, patch, stride=patch)
        self.positions = nn.Parameter(torch.randn(1, (height // patch) * (width // patch), dim) * 0.02)
        layer = nn.TransformerEncoderLayer(
            dim, heads, int(dim * mlp_ratio), dropout, activation="gelu", batch_first=True, norm_first=True
        )
        # Nested tensors are for padded sequences; there are none, and the fast path warns with norm_first.
        self.encoder = nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(dim), enable_nested_tensor=False)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(B, C, H, W)`` to logits ``(B, num_classes)``."""
        tokens = self.patches(images).flatten(2).transpose(1, 2)  # (B, N, dim)
        logits: Tensor = self.head(self.encoder(tokens + self.positions).mean(dim=1))
        return logits
