"""`python -m src.completion`: the command `strobe completion`, from a checkout."""

from strobe.commands.completion import main
from strobe.machine.leaving import leave

if __name__ == "__main__":
    leave(main)
