"""Sweeps: many plain runs, each in a process of its own."""
