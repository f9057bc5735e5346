"""Probes, one file per subject; each module offers `PROBES`."""
