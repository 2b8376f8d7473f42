"""`python -m src.evaluate`: the command `strobe evaluate`, from a checkout."""

from strobe.commands.evaluate import main
from strobe.machine.leaving import leave

if __name__ == "__main__":
    leave(main)
