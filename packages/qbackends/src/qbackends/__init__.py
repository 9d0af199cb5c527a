"""qbackends: see README.md."""
