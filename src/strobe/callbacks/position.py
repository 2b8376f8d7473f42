"""What a recorder asks of whatever serves the data: how far it has come, and whether it can go on from there."""

from typing import Protocol


class Position(Protocol):
    """Where the training data stands."""

    @property
    def resumes_within_epoch(self) -> bool:
        """Whether a run can go on from within an epoch as if it had not been stopped."""

    @property
    def unresumable(self) -> str | None:
        """Why not, in words."""

    @property
    def resumes_at_batch(self) -> int | None:
        """Where a run that is resumed within an epoch goes on; None where it begins one."""

    @property
    def batch_size(self) -> int | None:
        """Examples per step and process; None where that is not known."""
