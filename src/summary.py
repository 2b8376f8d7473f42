"""`python -m src.summary`: the command `strobe summary`, from a checkout."""

from strobe.commands.summary import main
from strobe.machine.leaving import leave

if __name__ == "__main__":
    leave(main)
