"""The policy: reading it, holding a run against it, writing one from a run."""
