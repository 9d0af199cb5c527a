"""The parts of FX graph mode that have import paths of their own."""
