"""The mathematics of flows: interpolant, velocity fields, ODE solvers and the two-timed flow map.

This room imports nothing else of ttfm. Its one convention: t = 0 is noise x0 ~ N(0, I), t = 1 is data x1.
"""
