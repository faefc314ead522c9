"""Talk to devices that run the firmware: frames, messages, links and the client, as docs/PROTOCOL.md specifies."""
