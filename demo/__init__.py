"""The demonstration that ``nox -s demo`` runs: two real models, quantized, measured, checked."""
