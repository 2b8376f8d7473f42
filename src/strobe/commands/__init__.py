"""The commands: arguments in, exit code out. No torch at module level; what needs it is imported once it is needed."""
