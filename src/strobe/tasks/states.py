"""What a torchmetric holds, as it goes into a checkpoint and comes back."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torchmetrics import Metric


def state_of(metric: Metric) -> dict[str, Any]:
    """A copy of its state on the CPU; empty for a wrapper, whose state is that of what it wraps."""
    return {key: _copied(value, "cpu") for key, value in metric.metric_state.items()}


def set_state(metric: Metric, state: Mapping[str, Any]) -> None:
    """Set what `state_of` returned; of several ranks, what each had of a list has become one tensor."""
    for key, value in state.items():
        is_list = isinstance(getattr(metric, key), list)
        setattr(metric, key, _copied([value] if is_list and isinstance(value, Tensor) else value, metric.device))


def _copied(value: Any, device: Any) -> Any:
    if isinstance(value, list):
        return [_copied(item, device) for item in value]
    return value.detach().to(device, copy=True) if isinstance(value, Tensor) else value
