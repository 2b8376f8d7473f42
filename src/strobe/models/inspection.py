"""Operations, layers and shapes of a net."""

import warnings

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(net: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)


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
