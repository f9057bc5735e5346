"""Compatibility tables and their rules, one file per table; each module offers `RULES`. The rows lie in `data/`."""
