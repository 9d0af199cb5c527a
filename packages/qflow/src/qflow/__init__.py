"""qflow: see README.md."""
