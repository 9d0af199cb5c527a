"""The passes, one file each; ``qgraph.pipeline`` lists them in order."""
