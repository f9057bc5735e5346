"""A monitor's child that reads one device for ever."""

import json
import threading
import time


def main(interval_s: float) -> None:
    while True:
        devices = [{"address": "0000:17:00.0", "power_w": 50}]
        print(json.dumps({"time_ns": time.monotonic_ns(), "devices": devices}), flush=True)
        threading.Event().wait(interval_s)
