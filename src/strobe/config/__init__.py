"""From what was typed to a config that is known to be right; nothing past `strobe.run.build` sees a config."""
