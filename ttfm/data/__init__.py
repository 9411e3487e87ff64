"""Data sets: two-dimensional densities and real digits, and the registry of their names."""
