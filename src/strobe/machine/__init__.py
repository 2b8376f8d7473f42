"""What this machine and this process are; knows nothing of runs."""

from strobe.machine import began as began
