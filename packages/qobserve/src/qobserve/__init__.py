"""qobserve: see README.md."""
