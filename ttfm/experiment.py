"""From an experiment's YAML to checked, fully resolved run configurations. Imports no torch.

``resolve`` turns an experiment into a :class:`Plan`: one JSON per run, holding everything that decides the run's result
and nothing else, so that an edit of the experiment reruns what it changes and only that.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, validators

from ttfm.evaluation.catalogue import names as metric_names
from ttfm.options import fill

Config = dict[str, Any]

RESERVED = ("data", "teacher", "teacher_euler", "baselines")
"""Names of reference rows, which no student may take."""


CLASSIFIER_SEED = 0
"""The classifier measures; it is the same in every experiment, whatever the seeds of its students."""


class ExperimentError(ValueError):
    """An experiment that cannot be run; the message lists every fault as key, value and what is allowed."""


@dataclass(frozen=True)
class Plan:
    """A resolved experiment.

    Attributes:
        experiment: the content of ``experiment.json``.
        configs: run configurations by their path below the plan folder.
        runs: every (problem, student, seed).
    """

    experiment: Config
    configs: dict[str, Config]
    runs: list[tuple[str, str, int]]


# JSON schema takes 4.0 for an integer; Python's range does not.
Validator = validators.extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


def _message(error: Any) -> str:
    value, rule = error.instance, error.validator
    if rule == "additionalProperties":
        return str(error.message).replace("Additional properties are not allowed", "unknown key")
    bounds = {
        "minimum": "at least",
        "maximum": "at most",
        "exclusiveMinimum": "greater than",
        "exclusiveMaximum": "less than",
    }
    if rule == "not":
        return f"{value!r} is taken; choose another"
    if rule in bounds:
        return f"{value!r} is not allowed; it must be {bounds[rule]} {error.validator_value}"
    if rule == "enum":
        return f"{value!r} is not allowed; one of {', '.join(map(repr, error.validator_value))}"
    if rule == "type":
        return f"{value!r} has the wrong type; it must be of type {error.validator_value}"
    if rule == "multipleOf":
        return f"{value!r} is not allowed; it must be a multiple of {error.validator_value}"
    if rule == "pattern":
        return f"{value!r} is not allowed; lower-case letters, digits, '_' and '-' only"
    return str(error.message)


def _faults(schema: Config, value: Any, where: str) -> list[str]:
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
    return [] if name in known else [f"{where}: {name!r} is unknown; one of {', '.join(map(repr, sorted(known)))}"]


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
    faults = _faults(schema, config, "") + _not_finite(config, "")
    if faults:
        raise ExperimentError("\n".join(faults))
    config = _defaults(schema, config, schema)
    for label, student in config["students"].items():
        where = f"students.{label}"
        if label in RESERVED:
            faults.append(f"{where}: this name is taken by a reference row; choose another")
        unknown = _check_name(student["loss"], registry["losses"], f"{where}.loss")
        faults += unknown or _faults(
            registry["losses"][student["loss"]]["options"], student["options"], f"{where}.options"
        )
        faults += _faults(registry["training"], student["training"], f"{where}.training")
    for label, problem in config["problems"].items():
        where = f"problems.{label}"
        data, network = problem["data"], problem["network"]
        for part in ("teacher", "training"):
            faults += _faults(registry["training"], problem[part], f"{where}.{part}")
        for student, override in problem["students"].items():
            at = f"{where}.students.{student}"
            unknown = _check_name(student, config["students"], at)
            loss = config["students"].get(student, {}).get("loss")
            if not unknown and loss in registry["losses"]:
                faults += _faults(registry["losses"][loss]["options"], override["options"], f"{at}.options")
            faults += unknown + _faults(registry["training"], override["training"], f"{at}.training")
        unknown = _check_name(network["name"], registry["networks"], f"{where}.network.name")
        fits = "" if unknown else registry["networks"][network["name"]]["kind"]
        if fits:
            options = registry["networks"][network["name"]]["options"]
            faults += _faults(options, _options_of(network), f"{where}.network")
        faults += unknown
        unknown = _check_name(data["name"], registry["data"], f"{where}.data.name")
        faults += unknown or _faults(registry["data"][data["name"]]["options"], _options_of(data), f"{where}.data")
        if not unknown and fits not in ("", registry["data"][data["name"]]["kind"]):
            faults.append(f"{where}.network.name: {network['name']!r} is for {fits}, and {data['name']!r} is not")
        if not unknown:
            faults += _check_evaluation(problem["evaluation"], registry["data"][data["name"]], f"{where}.evaluation")
    if faults:
        raise ExperimentError("\n".join(faults))
    return config


def _check_evaluation(evaluation: Config, data: Config, where: str) -> list[str]:
    faults = []
    metrics = dict.fromkeys(metric_names(data["kind"]))
    evaluation.setdefault("headline", "endpoint_rmse" if data["kind"] == "points" else "fd-digits")
    faults += _check_name(evaluation["headline"], metrics, f"{where}.headline")
    if data["kind"] == "images" and evaluation["samples"] < 128:
        faults.append(f"{where}.samples: {evaluation['samples']} is not allowed; a Fréchet distance needs at least 128")
    if data["available"] and evaluation["samples"] > data["available"]:
        faults.append(
            f"{where}.samples: {evaluation['samples']} is more than the {data['available']} test samples there are"
        )
    return faults


def cannot_be_run(source: str, faults: list[str]) -> str:
    """The message that lists every fault of an experiment and names its file."""
    return "\n  ".join([f"the experiment{f' {source}' if source else ''} cannot be run:", *faults])


def resolve(config: Config, registry: Config, schema: Config, source: str = "") -> Plan:
    """Check an experiment and resolve every run.

    Args:
        config: the experiment as read from YAML.
        registry: what :func:`ttfm.registry.describe` returned.
        schema: the experiment's JSON schema.
        source: the experiment's file, for messages and the report.

    Raises:
        ExperimentError: naming the file and every fault in it.
    """
    try:
        config = validate(config, registry, schema)
    except ExperimentError as error:
        raise ExperimentError(cannot_be_run(source, str(error).splitlines())) from None
    configs: dict[str, Config] = {}
    runs: list[tuple[str, str, int]] = []
    problems: Config = {}
    for name, problem in config["problems"].items():
        entry = registry["data"][problem["data"]["name"]]
        seeds = problem.get("seeds", config["seeds"])
        common = {
            "experiment": config["name"],
            "problem": name,
            "device": config["device"],
            "kind": entry["kind"],
            "shape": entry["shape"],
            "closed_form": entry["closed_form"],
            "data": {"name": problem["data"]["name"]} | fill(entry["options"], problem["data"]),
        }
        evaluation = problem["evaluation"]
        sampled = {key: evaluation[key] for key in ("samples", "seed")}
        network_schema = registry["networks"][problem["network"]["name"]]["options"]
        network = {"name": problem["network"]["name"]} | fill(network_schema, problem["network"])
        teacher = fill(registry["training"], problem["training"] | problem["teacher"])
        configs[f"{name}/data.json"] = common | {"evaluation": sampled}
        configs[f"{name}/teacher.json"] = common | {
            "network": network,
            "loss": {"name": "velocity_regression" if entry["closed_form"] else "fm", "options": {}},
            "training": teacher,
            "seed": problem["teacher_seed"],
        }
        solved = {key: evaluation[key] for key in ("samples", "seed", "solver", "steps")}
        scored = {key: evaluation[key] for key in ("samples", "seed", "shown")}
        if entry["kind"] == "images":
            configs[f"{name}/classifier.json"] = common | {"seed": CLASSIFIER_SEED}
            configs["lpips-trunk.json"] = {"experiment": config["name"], "assets": config["assets"]}
        configs[f"{name}/solution.json"] = common | {"network": network, "evaluation": solved}
        configs[f"{name}/baselines.json"] = common | {
            "network": network,
            "evaluation": scored,
            "budgets": config["budgets"],
        }
        for label, student in config["students"].items():
            loss = registry["losses"][student["loss"]]
            override = problem["students"].get(label, {"options": {}, "training": {}})
            options = fill(loss["options"], student["options"] | override["options"])
            training = problem["training"] | student["training"] | override["training"]
            training = fill(registry["training"], training)
            if not loss["starts_from_teacher"]:
                # As many training samples as the teacher saw, in this student's batches.
                training["iterations"] += -(-teacher["iterations"] * teacher["batch"] // training["batch"])
            for seed in seeds:
                run = common | {"student": label, "network": network, "seed": seed}
                configs[f"{name}/{label}/{seed}/student.json"] = run | {
                    "loss": {"name": student["loss"], "options": options},
                    "initialisation": "teacher" if loss["starts_from_teacher"] else "random",
                    "training": training,
                    "loss_modules": config["loss_modules"],
                }
                configs[f"{name}/{label}/{seed}/evaluate.json"] = run | {
                    "loss": student["loss"],
                    "learns": loss["learns"],
                    "evaluation": scored,
                    "budgets": config["budgets"],
                }
                runs.append((name, label, seed))
        problems[name] = {
            "title": problem["title"],
            "description": problem["description"],
            "kind": entry["kind"],
            "shape": entry["shape"],
            "teacher": "closed_form" if entry["closed_form"] else "learned",
            "headline": evaluation["headline"],
            "seeds": seeds,
        }
    students = {label: _student_card(student, registry) for label, student in config["students"].items()}
    experiment = {key: config[key] for key in ("name", "title", "description")}
    experiment |= {"source": source, "config": config, "budgets": config["budgets"]}
    return Plan(experiment | {"problems": problems, "students": students}, configs, runs)


def _student_card(student: Config, registry: Config) -> Config:
    loss = registry["losses"][student["loss"]]
    card = {key: loss[key] for key in ("title", "family", "source", "learns", "needs_teacher", "starts_from_teacher")}
    return card | {"loss": student["loss"], "title": student.get("title", loss["title"]), "note": student["note"]}


def read_schema(path: str | Path) -> Config:
    """The experiment schema from its YAML file."""
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
