"""The steps of an experiment, one module each: ``python -m ttfm <step> --help``.

A step module has ``add_arguments(parser)`` and ``run(arguments)``. It imports torch only when it runs, so that help and
planning stay fast.
"""
