"""What runs in the target's own interpreter: it measures, and says what it measured as JSON lines. Python 3.7 syntax, the standard
library and the library measured; never imported by the doctor, which starts it with `bootstrap.py` (see there)."""
