"""`python -m src.benchmark`: the command `strobe benchmark`, from a checkout."""

from strobe.commands.benchmark import main
from strobe.machine.leaving import leave

if __name__ == "__main__":
    leave(main)
