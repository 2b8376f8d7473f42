"""A net that takes its time: what happens to a job's machine in the meantime costs the tests no processor."""

import time

from torch import Tensor

from strobe.models.simple_nn import SimpleNN

STEP_S = 0.03


class Patient(SimpleNN):
    """A SimpleNN that rests in every training step."""

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            time.sleep(STEP_S)
        return super().forward(images)
