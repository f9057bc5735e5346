"""Named choices of checks for a policy."""
