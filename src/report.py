"""`python -m src.report`: the command `strobe report`, from a checkout."""

from strobe.commands.report import main
from strobe.machine.leaving import leave

if __name__ == "__main__":
    leave(main)
