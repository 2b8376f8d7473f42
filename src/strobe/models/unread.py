"""Whether nets that want pretrained weights read them: not where other weights take their place anyway."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LOADS: ContextVar[bool] = ContextVar("_LOADS", default=True)


@contextmanager
def without_pretrained_weights() -> Iterator[None]:
    """Build nets that want pretrained weights without reading them: for weights that replace them anyway."""
    token = _LOADS.set(False)
    try:
        yield
    finally:
        _LOADS.reset(token)


def reads_pretrained_weights() -> bool:
    """Whether a net that is built now is to read its pretrained weights."""
    return _LOADS.get()
