"""Charts and the one-file HTML page."""
