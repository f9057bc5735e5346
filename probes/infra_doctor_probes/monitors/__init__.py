"""Live readings of devices: one file per vendor; the readings themselves are taken in a child process."""
