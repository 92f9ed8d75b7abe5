"""`python -m spar_server.cli`."""

from spar_server.cli.main import main

main()
