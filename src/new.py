"""`python -m src.new`: the command `strobe new`, from a checkout."""

from strobe.commands.new import main
from strobe.machine.leaving import leave

if __name__ == "__main__":
    leave(main)
