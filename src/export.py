"""`python -m src.export`: the command `strobe export`, from a checkout."""

from strobe.commands.export import main
from strobe.machine.leaving import leave

if __name__ == "__main__":
    leave(main)
