"""Show devices' pictures, masks and decisions live, in a terminal or a browser."""
