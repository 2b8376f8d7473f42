"""`python -m src.predict`: the command `strobe predict`, from a checkout."""

from strobe.commands.predict import main
from strobe.machine.leaving import leave

if __name__ == "__main__":
    leave(main)
