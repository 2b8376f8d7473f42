"""Datasets: facts, files, batches and the one datamodule."""
