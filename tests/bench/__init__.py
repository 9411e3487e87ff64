"""The benchmark suite: ``make bench`` measures, ratios within one run, and writes its tables.

Nothing here is a test that passes or fails by a clock: machines differ and are shared. What is claimed about speed is
read from ``results/published/bench/``.
"""
