"""``python -m tuner`` is ``tune``."""

from tuner.cli.main import main

main()
