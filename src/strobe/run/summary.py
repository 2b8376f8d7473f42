"""Parameters, operations and shapes of the nets that configs describe."""

from omegaconf import DictConfig

from strobe.machine.table import aligned
from strobe.models.inspection import count_parameters, layers, operations
from strobe.run.build import build_data, build_net


def overview(configs: dict[str, DictConfig]) -> str:
    """A line per model."""
    rows = [("model", "input", "parameters", "MFLOPs per image")]
    for name, cfg in configs.items():
        data = build_data(cfg)
        net = build_net(cfg, data)
        flops = operations(net, data.in_shape) / 1e6
        rows.append((name, "x".join(map(str, data.in_shape)), f"{count_parameters(net):,}", f"{flops:.2f}"))
    return aligned(rows)


def details(cfg: DictConfig) -> str:
    """A line per layer."""
    data = build_data(cfg)
    net = build_net(cfg, data)
    rows = [("layer", "kind", "output", "parameters")]
    rows += [(name, kind, shape, f"{count:,}") for name, kind, shape, count in layers(net, data.in_shape)]
    total = f"{count_parameters(net):,} parameters, {operations(net, data.in_shape) / 1e6:.2f} MFLOPs per image"
    return f"{aligned(rows)}\n\n{total}"
