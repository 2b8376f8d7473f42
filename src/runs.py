"""`python -m src.runs`: the command `strobe runs`, from a checkout."""

import sys

from strobe.commands.runs import main

if __name__ == "__main__":
    sys.exit(main())
