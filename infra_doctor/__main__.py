"""The entry point. `--version` is answered before anything else is imported."""

import gc
import os
import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    gc.disable()  # a run is over before it would be worth its time; the dashboard turns it on again
    try:
        if sys.argv[1:] in (["--version"], ["-V"]):
            from infra_doctor import __version__

            if sys.stdout is not None:
                try:
                    print(f"infra-doctor {__version__}", flush=True)
                    return
                except OSError:
                    pass  # said below, where every error of standard output is
        from infra_doctor.cli.main import run
    except KeyboardInterrupt:
        os._exit(130)
    run(sys.argv[1:])


if __name__ == "__main__":
    main()
