"""Compares runs: tables, seeds grouped, pictures, one page that holds them all."""
