"""The entry point of ``tune`` and of ``python -m tuner``."""

import sys


def main() -> None:
    """The command line, in a process whose packages are ours."""
    from tuner import precedence

    try:
        precedence.claim(*precedence.OURS)
    except precedence.errors().UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    from tuner.cli.main import main as tune

    tune()


if __name__ == "__main__":
    if not sys.flags.safe_path:
        # The folder at hand, in which a user may have a queue.py.
        del sys.path[0]
    main()
