"""`python -m src.rm`: the command `strobe rm`, from a checkout."""

from strobe.commands.rm import main
from strobe.machine.leaving import leave

if __name__ == "__main__":
    leave(main)
