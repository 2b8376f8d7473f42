"""What a datamodule says of its data."""

from typing import Any


def facts_told(data: Any) -> dict[str, Any]:
    """``in_shape``, ``num_classes``, ``mean`` and so on; nothing if it has no ``facts``."""
    facts = getattr(data, "facts", None)
    return dict(facts()) if callable(facts) else {}
