"""An experiment's YAML, checked before any job: every fault by key, value and what is allowed. Imports no torch."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, validators

from ttfm.evaluation.catalogue import METRICS, asked_metrics
from ttfm.evaluation.catalogue import names as metric_names
from ttfm.evaluation.image_metrics import (
    IMAGE_METRICS,
    NETWORKS,
    Network,
    default_metrics,
    frechet_samples,
    samples_needed,
)
from ttfm.latent.finding import latent_faults
from ttfm.located import located
from ttfm.networks.presets import PRESETS
from ttfm.options import fill
from ttfm.problem_checks import IMPORT, teacher_faults

Config = dict[str, Any]

RESERVED = ("data", "autoencoder", "teacher", "teacher_euler", "baselines", "neighbours", "random")
"""Names of reference rows, of their folders and of ways to start, which no student may take."""
FOLDERS = ("plan", "logs", "benchmarks", "tables", "figures", "weights")
"""Folders beside those of the problems, which no problem may take."""


class ExperimentError(ValueError):
    """An experiment that cannot be run; the message lists every fault as key, value and what is allowed."""


# JSON schema takes 4.0 for an integer; Python's range does not.
Validator = validators.extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "greater than",
    "exclusiveMaximum": "less than",
}


def _form(schema: Config) -> str:
    """One of several forms that a value may have, in words."""
    if schema.get("type") == "array":
        return f"a list, each entry {_form(schema['items'])}"
    bounds = [f"{words} {schema[rule]}" for rule, words in BOUNDS.items() if rule in schema]
    return " ".join([f"of type {schema['type']}" if "type" in schema else repr(schema.get("enum")), *bounds])


def _message(error: Any) -> str:
    value, rule = error.instance, error.validator
    if rule == "additionalProperties":
        return str(error.message).replace("Additional properties are not allowed", "unknown key")
    if rule == "not":
        return f"{value!r} is taken; choose another"
    if rule in BOUNDS:
        return f"{value!r} is not allowed; it must be {BOUNDS[rule]} {error.validator_value}"
    if rule == "anyOf":
        return f"{value!r} is not allowed; it must be {' or '.join(map(_form, error.validator_value))}"
    if rule == "enum":
        return f"{value!r} is not allowed; one of {', '.join(map(repr, error.validator_value))}"
    if rule == "type":
        return f"{value!r} has the wrong type; it must be of type {error.validator_value}"
    if rule == "multipleOf":
        return f"{value!r} is not allowed; it must be a multiple of {error.validator_value}"
    if rule == "pattern":
        return f"{value!r} is not allowed; lower-case letters, digits, '_' and '-' only"
    return str(error.message)


def schema_faults(schema: Config, value: Any, where: str) -> list[str]:
    """Every fault of ``value`` under a JSON schema: key below ``where``, value, and what is allowed."""
    faults = []
    for error in sorted(Validator(schema).iter_errors(value), key=lambda e: list(map(str, e.absolute_path))):
        key = ".".join([where, *map(str, error.absolute_path)]).strip(".")
        allowed = ""
        if error.validator == "additionalProperties" and "properties" in error.schema:
            allowed = f"; known keys: {', '.join(error.schema['properties']) or 'none'}"
        faults.append(f"{key or 'experiment'}: {_message(error)}{allowed}")
    return faults


def _not_finite(value: Any, where: str) -> list[str]:
    if isinstance(value, dict):
        return [fault for key, part in value.items() for fault in _not_finite(part, f"{where}.{key}")]
    if isinstance(value, list):
        return [fault for index, part in enumerate(value) for fault in _not_finite(part, f"{where}.{index}")]
    if isinstance(value, float) and not math.isfinite(value):
        return [f"{where.strip('.')}: {value!r} is not allowed; it must be a finite number"]
    return []


def _defaults(schema: Config, value: Any, root: Config) -> Any:
    """``value`` with the schema's defaults filled in, recursively."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]] | {k: v for k, v in schema.items() if k != "$ref"}
    if not isinstance(value, dict):
        return value
    filled = dict(value)
    for name, entry in schema.get("properties", {}).items():
        if name not in filled and "default" in entry:
            filled[name] = copy.deepcopy(entry["default"])
        if name in filled:
            filled[name] = _defaults(entry, filled[name], root)
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        filled |= {name: _defaults(extra, filled[name], root) for name in value}
    return filled


def _check_name(name: Any, known: Config, where: str) -> list[str]:
    if isinstance(name, str) and name in known:
        return []
    return [f"{where}: {name!r} is unknown; one of {', '.join(map(repr, sorted(known)))}"]


def _options_of(entry: Config) -> Config:
    return {key: value for key, value in entry.items() if key != "name"}


def validate(config: Config, registry: Config, schema: Config) -> Config:
    """The experiment with defaults filled in.

    Args:
        config: the experiment as read from YAML.
        registry: what :func:`ttfm.registry.describe` returned.
        schema: the experiment's JSON schema.

    Raises:
        ExperimentError: listing every fault.
    """
    if not isinstance(config, dict):
        raise ExperimentError("it must be a mapping of keys to values, as in workflow/experiments/default.yaml")
    faults = schema_faults(schema, config, "") + _not_finite(config, "")
    if faults:
        raise ExperimentError("\n".join(faults))
    config = _defaults(schema, config, schema)
    for label, student in config["students"].items():
        where = f"students.{label}"
        if label in RESERVED:
            faults.append(f"{where}: this name is taken; choose another")
        unknown = _check_name(student["loss"], registry["losses"], f"{where}.loss")
        faults += unknown or schema_faults(
            registry["losses"][student["loss"]]["options"], student["options"], f"{where}.options"
        )
        faults += schema_faults(registry["training"], student["training"], f"{where}.training")
        faults += _check_start(config["students"], registry["losses"], label)
    if config["baseline"] is not None:
        faults += _check_name(config["baseline"], config["students"], "baseline")
    for label, problem in config["problems"].items():
        where = f"problems.{label}"
        if label in FOLDERS:
            faults.append(f"{where}: this name is taken; choose another")
        data, network = problem["data"], problem["network"]
        trained = {key: value for key, value in problem["teacher"].items() if key not in IMPORT}
        for part, options in (("teacher", trained), ("training", problem["training"])):
            faults += schema_faults(registry["training"], options, f"{where}.{part}")
        for student, override in problem["students"].items():
            at = f"{where}.students.{student}"
            unknown = _check_name(student, config["students"], at)
            loss = config["students"].get(student, {}).get("loss")
            if not unknown and loss in registry["losses"]:
                faults += schema_faults(registry["losses"][loss]["options"], override["options"], f"{at}.options")
            faults += unknown + schema_faults(registry["training"], override["training"], f"{at}.training")
        unknown = _check_name(network["name"], registry["networks"], f"{where}.network.name")
        fits = "" if unknown else registry["networks"][network["name"]]["kind"]
        if fits:
            faults += _check_network(network, registry["networks"][network["name"]]["options"], f"{where}.network")
        faults += unknown
        unknown = _check_name(data["name"], registry["data"], f"{where}.data.name")
        faults += unknown or schema_faults(
            registry["data"][data["name"]]["options"], _options_of(data), f"{where}.data"
        )
        if not unknown and fits not in ("", registry["data"][data["name"]]["kind"]):
            faults.append(f"{where}.network.name: {network['name']!r} is for {fits}, and {data['name']!r} is not")
        if not unknown:
            faults += _check_evaluation(
                problem["evaluation"], registry["data"][data["name"]], data, f"{where}.evaluation"
            )
            faults += _check_source(problem, registry, f"{where}.source")
            faults += _check_teacher_loss(problem, registry, f"{where}.teacher_loss")
            closed_form = registry["data"][data["name"]]["closed_form"]
            faults += teacher_faults(problem, closed_form, where, _learning_from_data(config["students"], registry))
            faults += latent_faults(problem, registry["data"][data["name"]], config["assets"], where)
            asked, there = network.get("classes", 0), registry["data"][data["name"]].get("classes")
            if asked and there is not None and asked != there:
                faults.append(f"{where}.network.classes: {asked} is not allowed; {data['name']!r} has {there} classes")
    if faults:
        raise ExperimentError("\n".join(faults))
    return config


def _check_network(network: Config, schema: Config, where: str) -> list[str]:
    """A preset is a name of the network's own; the options beside it are those of the network."""
    options, presets = _options_of(network), PRESETS.get(network["name"], {})
    if "preset" not in options:
        return schema_faults(schema, options, where)
    if not presets:
        return [f"{where}.preset: {network['name']!r} has no presets; leave it out and give its options"]
    rest = {key: value for key, value in options.items() if key != "preset"}
    return _check_name(options["preset"], presets, f"{where}.preset") + schema_faults(schema, rest, where)


def _check_start(students: Config, losses: Config, label: str) -> list[str]:
    """The chain of students that this one starts from must exist and end, and hold plain networks."""
    chain = [label]
    while (start := students[chain[-1]]["start"]) is not None:
        where = f"students.{chain[-1]}.start"
        if start not in students:
            return _check_name(start, students, where) if len(chain) == 1 else []
        if losses.get(students[start]["loss"], {}).get("wraps"):
            return [
                f"{where}: {start!r} trains more than the problem's network; nothing else can start from its weights"
            ]
        if start in chain:
            return [f"{where}: {start!r} starts from {chain[-1]!r} in turn; one of them must start from the teacher"]
        chain.append(start)
    return []


def _check_source(problem: Config, registry: Config, where: str) -> list[str]:
    source = problem["source"]
    unknown = _check_name(source["name"], registry["sources"], f"{where}.name")
    if unknown:
        return unknown
    faults = schema_faults(registry["sources"][source["name"]]["options"], _options_of(source), where)
    if registry["data"][problem["data"]["name"]]["closed_form"] and source["name"] != "gaussian":
        faults.append(f"{where}.name: the velocity of {problem['data']['name']!r} is known for a Gaussian source only")
    return faults


def _check_teacher_loss(problem: Config, registry: Config, where: str) -> list[str]:
    """A teacher learns a velocity from data alone."""
    asked = problem["teacher_loss"]
    unknown = _check_name(asked["name"], registry["losses"], f"{where}.name")
    if unknown:
        return unknown
    loss = registry["losses"][asked["name"]]
    faults = schema_faults(loss["options"], _options_of(asked), where)
    alone = not (loss["needs_teacher"] or loss["starts_from_teacher"] or loss["offline"] or loss["wraps"])
    if loss["learns"] != "velocity" or not alone:
        faults.append(
            f"{where}.name: {asked['name']!r} cannot train a teacher; it takes a loss that learns a velocity alone"
        )
    if registry["data"][problem["data"]["name"]]["closed_form"] and asked != {"name": "fm"}:
        faults.append(f"{where}: the velocity of {problem['data']['name']!r} is known in closed form; leave this out")
    return faults


def _check_metrics(evaluation: Config, data: Config, entry: Config, where: str) -> list[str]:
    """What images are measured by must suit their kind, size and number; fills in what a data set is measured by."""
    samples, asked, name = evaluation["samples"], evaluation["metrics"], entry["name"]
    evaluation["reference"] = evaluation["reference"] or ("test" if name == "digits" else "train")
    if data["kind"] != "images":
        evaluation["metrics"] = []
        return [f"{where}.metrics: these are for images; leave it out"] if asked else []
    if asked is None:
        evaluation["metrics"] = default_metrics(name, samples)
        if not any(METRICS[metric].score == "frechet" for metric in evaluation["metrics"]):
            least = frechet_samples(name)
            return [f"{where}.samples: {samples} is not allowed; a Fréchet distance needs at least {least:,}"]
        asked = evaluation["metrics"]
    known = {metric.name: metric for metric in IMAGE_METRICS}
    faults = [fault for metric in asked for fault in _check_name(metric, known, f"{where}.metrics")]
    for metric in (known[entry] for entry in asked if entry in known):
        network = NETWORKS[metric.extractor] if metric.extractor else Network(0)
        if network.data not in ("", name):
            faults.append(f"{where}.metrics: {metric.name!r} is for {network.data!r} only")
        options, size = fill(data["options"], entry), f"{network.side} x {network.side}"
        sides = [options[side] if isinstance(side, str) else side for side in data["shape"][1:]]
        if network.side and sides != [network.side] * 2:
            faults.append(f"{where}.metrics: {metric.name!r} takes images of {size} pixels only")
        if samples < (least := samples_needed(metric)):
            faults.append(f"{where}.samples: {samples} is not allowed; {metric.name!r} needs at least {least:,}")
        elif evaluation["reference"] == "train" and metric.extractor and (entry.get("limit") or least) < least:
            faults.append(
                f"{where}.reference: data.limit keeps {entry['limit']} images; {metric.name!r} needs {least:,}"
            )
    return faults


def _learning_from_data(students: Config, registry: Config) -> list[str]:
    """The students whose losses learn, at least in part, from data and not from the teacher."""
    losses = registry["losses"]
    return [label for label, about in students.items() if losses.get(about["loss"], {}).get("learns_data")]


def _check_evaluation(evaluation: Config, data: Config, entry: Config, where: str) -> list[str]:
    """``entry`` is the problem's entry of data, ``data`` what the registry says of that set."""
    faults = _check_metrics(evaluation, data, entry, where)
    metrics = dict.fromkeys(metric_names(data["kind"], asked_metrics(evaluation)))
    ranked = [name for name in metrics if METRICS[name].ranked and METRICS[name].depends_on_steps]
    asked = [name for name in evaluation["metrics"] if name in ranked]
    first = next(iter(asked), "") if data["kind"] == "images" else "endpoint_rmse"
    evaluation.setdefault("headline", first)
    faults += _check_name(evaluation["headline"], dict.fromkeys(ranked), f"{where}.headline")
    if evaluation["histogram_samples"] and not data["probabilities"]:
        faults.append(f"{where}.histogram_samples: the cell probabilities of this data are not known; leave it out")
    compared = data["kind"] != "images" or evaluation["reference"] == "test"
    if compared and data["available"] and evaluation["samples"] > data["available"]:
        faults.append(
            f"{where}.samples: {evaluation['samples']} is more than the {data['available']} test samples there are"
        )
    return faults


def cannot_be_run(source: str, faults: list[str]) -> str:
    """The message that lists every fault of an experiment and names its file, and lines where they can be found."""
    return "\n  ".join([f"the experiment{f' {source}' if source else ''} cannot be run:", *located(source, faults)])


def read_schema(path: str | Path) -> Config:
    """The experiment schema from its YAML file."""
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
