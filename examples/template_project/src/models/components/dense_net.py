"""A net of dense layers with batch normalization."""

from torch import Tensor, nn


class DenseNet(nn.Module):
    """Linear layers, each normalized and rectified, and one that names the class.

    Args:
        input_size: Numbers of an example.
        hidden_sizes: Units of each hidden layer.
        output_size: Number of classes.
    """

    def __init__(self, input_size: int = 2, hidden_sizes: tuple[int, ...] = (64, 64), output_size: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for size in hidden_sizes:
            layers += [nn.Linear(input_size, size), nn.BatchNorm1d(size), nn.ReLU()]
            input_size = size
        self.model = nn.Sequential(*layers, nn.Linear(input_size, output_size))

    def forward(self, x: Tensor) -> Tensor:
        """Map examples ``(B, ...)`` to logits ``(B, output_size)``."""
        logits: Tensor = self.model(x.flatten(1))
        return logits
