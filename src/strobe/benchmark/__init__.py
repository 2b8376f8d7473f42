"""Speed: what a command, a step or a second process costs, beside something to compare it with."""
