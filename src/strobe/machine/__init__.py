"""What this machine and this process are; knows nothing of runs."""
