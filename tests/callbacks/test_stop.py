"""When a run that is asked to stop does so."""

import os
import signal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from strobe.callbacks.stop import StopGracefully, StopRequest
from strobe.errors import PreemptedError


def test_a_rank_that_is_asked_while_the_ranks_agree_goes_on_with_the_others_until_they_agree_again() -> None:
    request = StopRequest("run")
    stop = StopGracefully(request, cast(Any, None), None)

    def agree(decision: bool, all: bool) -> bool:
        request.reason = PreemptedError  # a signal is handled when the collective returns, too late for the others
        return decision

    trainer: Any = SimpleNamespace(world_size=2, strategy=SimpleNamespace(reduce_boolean_decision=agree))
    module: Any = None
    stop.on_train_epoch_start(trainer, module)
    with pytest.raises(PreemptedError):
        stop.on_train_epoch_start(trainer, module)


def test_a_run_that_was_stopped_says_how_it_goes_on() -> None:
    request = StopRequest("a b/run")
    request.reason = PreemptedError
    assert str(request.error()).endswith("continue with 'resume=a b/run'")


def test_a_signal_while_the_record_is_written_is_only_taken_down_and_the_first_one_counts() -> None:
    request = StopRequest("run")
    with request.installed():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        request.holding = False
        with pytest.raises(PreemptedError):
            request.raise_if_asked()
