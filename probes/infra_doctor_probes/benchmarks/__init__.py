"""Benchmarks: one file per group of measurements. What runs is in `worker/`; here is what to ask it and what to expect."""
