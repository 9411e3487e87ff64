"""Faults injected into real DAGs: after each of them the same command completes, and no number has changed.

``make faults`` runs the suite in full and prints its table; ``test_faults.py`` is its short form.
"""
