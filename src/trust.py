"""`python -m src.trust`: the command `strobe trust`, from a checkout."""

import sys

from strobe.commands.trust import main

if __name__ == "__main__":
    sys.exit(main())
