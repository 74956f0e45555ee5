"""`python -m cli`: the command `retrieval` without its entry point."""

from cli import main

main()
