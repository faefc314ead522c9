"""Run the command line as `python -m nanou_deploy.cli`, for callers that do not know where its script is."""

from nanou_deploy.cli import main

main()
