"""`python -m src.summary`: the command `strobe summary`, from a checkout."""

import sys

from strobe.commands.summary import main

if __name__ == "__main__":
    sys.exit(main())
