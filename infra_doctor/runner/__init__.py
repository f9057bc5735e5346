"""A run: finding plug-ins, running probes and children, events, the compatibility matrix, checks, diagnosis."""
