"""`python -m src.report`: the command `strobe report`, from a checkout."""

import sys

from strobe.commands.report import main

if __name__ == "__main__":
    sys.exit(main())
