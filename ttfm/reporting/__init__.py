"""Tables, figures and the page of one experiment, made from its result files alone.

This room reads CSV, JSON and npz files and imports no torch: a report can be built again on any machine, from files
that another one computed. ``build`` is the entrance; ``names`` is light enough for the planning of a workflow.
"""
