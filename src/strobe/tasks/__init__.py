"""The LightningModules: what is learnt from a batch, and what is measured."""
