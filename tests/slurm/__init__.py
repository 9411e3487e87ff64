"""A real Slurm cluster of two nodes on the loopback interface: ``make slurm-test``."""
