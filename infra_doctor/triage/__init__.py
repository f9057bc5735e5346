"""From a log to causes: reading, cleaning, matching the signatures that stand beside the checks, and asking a machine."""
