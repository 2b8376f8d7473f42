"""A config -> everything that is wrong with it, the cheap checks first; imports torch."""

from omegaconf import DictConfig

from strobe.config.abilities import data_problems, machine_problems
from strobe.config.targets import problems_with_targets
from strobe.config.values import problems


def all_problems(cfg: DictConfig) -> list[str]:
    """Everything wrong with values, or else with targets and arguments, or else with what is asked of the machine."""
    return problems(cfg) or problems_with_libraries(cfg)


def problems_with_libraries(cfg: DictConfig) -> list[str]:
    """Everything wrong with targets, their arguments, and what is asked of the machine, one line each."""
    return problems_with_targets(cfg) or [*machine_problems(cfg), *data_problems(cfg)]
