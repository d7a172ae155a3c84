"""`python -m studio` is the command `studio`."""

from studio.cli import main

main()
