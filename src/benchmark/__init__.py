"""How long the default command takes, beside a hand-written loop and the classic script."""
