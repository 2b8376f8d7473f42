"""What was met before among thousands of configs, by a fingerprint of each."""

import hashlib
from typing import Any


class Seen:
    """A set of plain values, nested or not, that keeps 16 bytes of each."""

    def __init__(self) -> None:
        self._fingerprints: set[bytes] = set()

    def __contains__(self, value: Any) -> bool:
        return fingerprint(value) in self._fingerprints

    def __len__(self) -> int:
        return len(self._fingerprints)

    def add(self, value: Any) -> bool:
        """Remember a value; tells whether it is new."""
        before = len(self._fingerprints)
        self._fingerprints.add(fingerprint(value))
        return len(self._fingerprints) > before


def fingerprint(value: Any) -> bytes:
    """16 bytes that are equal for equal plain values in equal order."""
    return hashlib.blake2b(repr(value).encode(), digest_size=16).digest()
