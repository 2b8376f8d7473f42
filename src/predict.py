"""`python -m src.predict`: the command `strobe predict`, from a checkout."""

import sys

from strobe.commands.predict import main

if __name__ == "__main__":
    sys.exit(main())
