"""Strobe from Python: what `import strobe` offers. It does what the commands do; errors are exceptions."""
