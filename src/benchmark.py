"""`python -m src.benchmark`: the command `strobe benchmark`, from a checkout."""

import sys

from strobe.commands.benchmark import main

if __name__ == "__main__":
    sys.exit(main())
