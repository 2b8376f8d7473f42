"""Parameters, operations and shapes of the nets that configs describe."""

from lightning.pytorch import LightningDataModule
from omegaconf import DictConfig
from torch import nn

from strobe.errors import ConfigError
from strobe.machine.table import aligned
from strobe.models.inspection import count_parameters, layers, operations
from strobe.run.parts import build_data, build_net, facts_of


def overview(configs: dict[str, DictConfig]) -> str:
    """A line per model."""
    rows = []
    images = True
    for name, cfg in configs.items():
        data = build_data(cfg)
        net = _the_net(cfg, data)
        in_shape = facts_of(data)["in_shape"]
        images = images and len(in_shape) == 3
        flops = operations(net, in_shape) / 1e6
        rows.append((name, "x".join(map(str, in_shape)), f"{count_parameters(net):,}", f"{flops:.2f}"))
    return aligned([("model", "input", "parameters", f"MFLOPs per {'image' if images else 'example'}"), *rows])


def details(cfg: DictConfig) -> str:
    """A line per layer."""
    data = build_data(cfg)
    net, in_shape = _the_net(cfg, data), facts_of(data)["in_shape"]
    what = "image" if len(in_shape) == 3 else "example"
    rows = [("layer", "kind", "output", "parameters")]
    rows += [(name, kind, shape, f"{count:,}") for name, kind, shape, count in layers(net, in_shape)]
    total = f"{count_parameters(net):,} parameters, {operations(net, in_shape) / 1e6:.2f} MFLOPs per {what}"
    return f"{aligned(rows)}\n\n{total}"


def _the_net(cfg: DictConfig, data: LightningDataModule) -> nn.Module:
    """The net of a config.

    Raises:
        ConfigError: If it has none, or the data doesn't say what goes into it.
    """
    net = build_net(cfg, data)
    if net is None:
        raise ConfigError("the task builds its own nets: there is no model to sum up")
    if "in_shape" not in facts_of(data):
        raise ConfigError(f"{type(data).__name__} has no facts() that tell in_shape: the model's input is not known")
    return net
