"""Optimizers that torch lacks."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Muon, Optimizer


class MuonAdamW(Optimizer):
    """Muon for the matrices of a net, AdamW for everything else, with one learning rate.

    torch's Muon takes matrices alone. With ``adjust_lr_fn="match_rms_adamw"`` its updates have the size of AdamW's, so
    one rate and one weight decay do for both.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        weight_decay: Decoupled, in both.
        momentum: Of Muon.
        nesterov: Of Muon.
        ns_steps: Newton-Schulz iterations of Muon.
        betas: Of AdamW.
        eps: Of AdamW.

    Source: Jordan et al.: Muon, an optimizer for hidden layers in neural networks, 2024.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        groups: list[dict[str, Any]] = [group if isinstance(group, dict) else {"params": [group]} for group in params]
        matrices, others = _split(groups, lambda tensor: tensor.ndim == 2)
        self._muon = self._adamw = None
        inner: list[Optimizer] = []
        if matrices:
            self._muon = Muon(
                matrices,
                lr=lr,
                weight_decay=weight_decay,
                momentum=momentum,
                nesterov=nesterov,
                ns_steps=ns_steps,
                adjust_lr_fn="match_rms_adamw",
            )
            inner.append(self._muon)
        if others:
            self._adamw = AdamW(others, lr=lr, weight_decay=weight_decay, betas=betas, eps=eps)
            inner.append(self._adamw)
        super().__init__([group for optimizer in inner for group in optimizer.param_groups], {"lr": lr})
        self._link()

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of both."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for inner in (self._muon, self._adamw):
            if inner is not None:
                inner.step()  # type: ignore[no-untyped-call]  # torch's Muon lacks annotations
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over groups and states."""
        super().load_state_dict(state_dict)
        self._link()

    def _link(self) -> None:
        """Let both work on our groups and states, so that schedules and checkpoints see one optimizer."""
        for inner, has_key in ((self._muon, True), (self._adamw, False)):
            if inner is not None:
                inner.param_groups = [group for group in self.param_groups if ("ns_steps" in group) is has_key]
                inner.state = self.state


def _split(
    groups: list[dict[str, Any]], belongs: Callable[[Tensor], bool]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Groups of the parameters that belong, and groups of the others; groups with equal options are merged."""
    sides: tuple[dict[Any, dict[str, Any]], dict[Any, dict[str, Any]]] = ({}, {})
    for group in groups:
        options = {key: value for key, value in group.items() if key != "params"}
        for parameter in group["params"]:
            side = sides[0] if belongs(parameter) else sides[1]
            side.setdefault(tuple(options.items()), {**options, "params": []})["params"].append(parameter)
    return list(sides[0].values()), list(sides[1].values())


def keep_state_dtypes(optimizer: Optimizer) -> Optimizer:
    """Have an optimizer load each tensor of its state as it was saved.

    torch casts all but ``step`` to its parameter's type: NAdam's ``mu_product`` is single precision whatever the
    parameters are, and a run resumed in double or half precision would go on with another number.
    """
    saved: list[Any] = []

    def remember(optimizer: Optimizer, state_dict: dict[str, Any]) -> None:
        saved[:] = [state_dict["state"]]

    def restore(optimizer: Optimizer) -> None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for index, parameter in enumerate(parameters):
            for name, value in saved[0].get(index, {}).items():
                loaded = optimizer.state[parameter].get(name)
                if isinstance(value, Tensor) and isinstance(loaded, Tensor) and loaded.dtype != value.dtype:
                    optimizer.state[parameter][name] = value.to(loaded.device, copy=True)
        saved.clear()

    optimizer.register_load_state_dict_pre_hook(remember)
    optimizer.register_load_state_dict_post_hook(restore)
    return optimizer
