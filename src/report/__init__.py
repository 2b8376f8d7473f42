"""Compares runs: tables, seeds grouped, pictures, one page that holds them all."""

from src.report.write import write_report

__all__ = ["write_report"]
