"""How Ascend software is looked at: the work behind the probes of `detect/ascend.py`, loaded only where there is some."""
