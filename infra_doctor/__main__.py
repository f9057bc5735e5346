"""The entry point. `--version` is answered before anything else is imported."""

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from infra_doctor import __version__

        print(f"infra-doctor {__version__}")
        return
    from infra_doctor.cli.main import run

    run(sys.argv[1:])


if __name__ == "__main__":
    main()
