"""Strobe: PyTorch Lightning experiments, composed by Hydra."""
