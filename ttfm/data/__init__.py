"""Data sets: two-dimensional densities and sets of images; readers of the latter, one file each."""
