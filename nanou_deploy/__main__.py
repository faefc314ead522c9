"""Run the command line as `python -m nanou_deploy`."""

from nanou_deploy.cli import main

main()
