"""A device that runs the firmware: frames, messages, links and the client. docs/PROTOCOL.md is the specification."""
