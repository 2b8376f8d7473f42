"""`python -m src.evaluate`: the command `strobe evaluate`, from a checkout."""

import sys

from strobe.commands.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
