"""`python -m src.train`: the command `strobe train`, from a checkout."""

import sys

from strobe.commands.train import main

if __name__ == "__main__":
    sys.exit(main())
