"""`python -m src.runs`: the command `strobe runs`, from a checkout."""

from strobe.commands.runs import main
from strobe.machine.leaving import leave

if __name__ == "__main__":
    leave(main)
