"""A net that takes its time: what happens to a job's machine in the meantime costs the tests no processor."""

import time
from pathlib import Path

from torch import Tensor

from strobe.models.simple_nn import SimpleNN

EPOCHS = 20
STEP_S = 0.5  # two minutes and a half for those epochs, in which the others may begin, on a busy machine too
_AT_ONCE = 34  # steps, of two epochs of the tiny set


class Patient(SimpleNN):
    """A SimpleNN that trains two epochs, then rests in every step until a file is there: the test has seen it by then.

    Args:
        in_shape: Of an image.
        num_classes: Number of outputs.
        gate: The file.
        hidden: Units of the hidden layer.
    """

    def __init__(self, *, in_shape: tuple[int, int, int], num_classes: int, gate: str, hidden: int = 128) -> None:
        super().__init__(in_shape=in_shape, num_classes=num_classes, hidden=hidden)
        self._gate = Path(gate)
        self._steps = 0

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self._steps += 1
            if self._steps > _AT_ONCE and not self._gate.exists():
                time.sleep(STEP_S)
        return super().forward(images)


def patient(gate: Path) -> list[str]:
    """What has a command train it."""
    model = ["model._target_=tests.cluster.patient.Patient", f"+model.gate={gate}"]
    return [*model, f"trainer.max_epochs={EPOCHS}", "trainer.enable_progress_bar=false"]
