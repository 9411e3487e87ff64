"""What tests of experiments share."""

from ttfm.experiment import read_schema
from ttfm.planning import SCHEMA
from ttfm.registry import describe
from ttfm.resolve import resolve

REGISTRY = describe()


SCHEMA_VALUE = read_schema(SCHEMA)


def resolved(config):
    return resolve(config, REGISTRY, SCHEMA_VALUE, "tiny.yaml")


def put(config, path, value):
    *parents, last = path.split("/")
    for parent in parents:
        config = config[parent]
    config[last] = value


def images_problem(tiny, **data):
    """The tiny experiment with its digits replaced by another set of images."""
    problem = tiny["problems"].pop("digits")
    tiny["problems"]["pictures"] = problem | {"data": data}
    return tiny
