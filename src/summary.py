"""Parameters, operations and shapes of models: `python -m src.summary [model=<name>] [data=<name>] [overrides]`."""

import sys
import warnings
from collections.abc import Sequence

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from src.build import build_data, build_net
from src.cli import CONF, composed, exit_code
from src.models.classifier import count_parameters


def operations(net: nn.Module, shape: tuple[int, int, int]) -> int:
    """Floating point operations of one image's forward pass; a multiply and an add count as two."""
    counter = FlopCounterMode(display=False)
    # The counter knows matrix products, not the fused kernels of attention and recurrent layers: do without those.
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            warnings.catch_warnings(action="ignore"),  # about a setting that the flags save and restore
            torch.no_grad(),
            torch.backends.mkldnn.flags(enabled=False),
            counter,
        ):
            net.eval()(torch.zeros(1, *shape))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return int(counter.get_total_flops())


def layers(net: nn.Module, shape: tuple[int, int, int]) -> list[tuple[str, str, str, int]]:
    """Name, kind, output shape and parameters of every layer, in the order they run; then parameters of no layer."""
    rows: list[tuple[str, str, str, int]] = []
    names = {module: name for name, module in net.named_modules()}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor | tuple[Tensor, ...]) -> None:
        first = output[0] if isinstance(output, tuple) else output
        rows.append((names[module], type(module).__name__, str(tuple(first.shape)), count_parameters(module)))

    hooks = [module.register_forward_hook(note) for module in names if _is_layer(module)]
    try:
        with torch.no_grad():
            net.eval()(torch.zeros(1, *shape))
    finally:
        for hook in hooks:
            hook.remove()
    inside = {id(parameter) for module in names if _is_layer(module) for parameter in module.parameters()}
    for name, parameter in net.named_parameters():
        if id(parameter) not in inside:
            rows.append((name, "Parameter", str(tuple(parameter.shape)), parameter.numel()))
    return rows


def _is_layer(module: nn.Module) -> bool:
    """Attention has a child, and uses its weights without calling it."""
    return isinstance(module, nn.MultiheadAttention) or not any(module.children())


def overview(configs: dict[str, DictConfig]) -> str:
    """A line per model."""
    rows = [("model", "input", "parameters", "MFLOPs per image")]
    for name, cfg in configs.items():
        data = build_data(cfg)
        net = build_net(cfg, in_shape=data.in_shape, num_classes=data.num_classes)
        flops = operations(net, data.in_shape) / 1e6
        rows.append((name, "x".join(map(str, data.in_shape)), f"{count_parameters(net):,}", f"{flops:.2f}"))
    return _table(rows)


def details(cfg: DictConfig) -> str:
    """A line per layer."""
    data = build_data(cfg)
    net = build_net(cfg, in_shape=data.in_shape, num_classes=data.num_classes)
    rows = [("layer", "kind", "output", "parameters")]
    rows += [(name, kind, shape, f"{count:,}") for name, kind, shape, count in layers(net, data.in_shape)]
    total = f"{count_parameters(net):,} parameters, {operations(net, data.in_shape) / 1e6:.2f} MFLOPs per image"
    return f"{_table(rows)}\n\n{total}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    overrides = list(sys.argv[1:] if arguments is None else arguments)
    if {"-h", "--help"} & set(overrides):
        print(__doc__)
        return 0
    try:
        if any(override.startswith("model=") for override in overrides):
            print(details(composed(overrides)))
        else:
            names = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
            print(overview({name: composed([f"model={name}", *overrides]) for name in names}))
    except Exception as error:
        return exit_code(error)
    return 0


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


if __name__ == "__main__":
    sys.exit(main())
