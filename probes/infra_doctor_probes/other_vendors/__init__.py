"""Accelerators of further vendors: one row of a table each, and the forms in which their tools print."""
