"""A monitor's child that has no library."""


def main(interval_s: float) -> None:
    print('{"error": "no library", "devices": []}', flush=True)
