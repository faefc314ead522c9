"""Watch devices as they see and decide: feeds from devices, and what shows them in a terminal or a browser."""
