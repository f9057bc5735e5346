"""What a policy's `[require]` may name: one file per subject; each key gives what was observed, the core compares."""
