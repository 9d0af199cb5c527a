"""qgraph: see README.md."""
