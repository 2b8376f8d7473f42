"""`python -m src.train`: the command `strobe train`, from a checkout."""

from strobe.commands.train import main
from strobe.machine.leaving import leave

if __name__ == "__main__":
    leave(main)
