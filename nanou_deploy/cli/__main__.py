"""`python -m nanou_deploy.cli`, for callers that know an interpreter but not where its scripts are."""

from nanou_deploy.cli import main

main()
