"""Where the worker lies: the file that the target's interpreter is started with."""

from pathlib import Path

WORKER = str(Path(__file__).parent.parent / "worker" / "bootstrap.py")
