"""`python -m src.trust`: the command `strobe trust`, from a checkout."""

from strobe.commands.trust import main
from strobe.machine.leaving import leave

if __name__ == "__main__":
    leave(main)
