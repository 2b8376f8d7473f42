"""`python -m src.doctor`: the command `strobe doctor`, from a checkout."""

from strobe.commands.doctor import main
from strobe.machine.leaving import leave

if __name__ == "__main__":
    leave(main)
