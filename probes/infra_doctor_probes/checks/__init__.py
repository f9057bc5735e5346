"""Checks, one file per question; each module offers `CHECKS`."""
