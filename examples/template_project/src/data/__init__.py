"""Where the points come from."""
