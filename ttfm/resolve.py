"""From a checked experiment to a JSON for every training, and one for a student's scores: all that decides the result
and nothing else, so that an edit of the experiment reruns what it changes and only that. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ttfm.evaluation.catalogue import METRICS, Kind, asked_metrics
from ttfm.evaluation.catalogue import names as metric_names
from ttfm.evaluation.image_metrics import NETWORKS, least_of, nearest_of, networks_of, trunks_of
from ttfm.experiment import Config, ExperimentError, cannot_be_run, validate
from ttfm.latent.finding import latent_shape
from ttfm.networks.presets import with_preset
from ttfm.options import fill
from ttfm.problem_checks import IMPORT

CLASSIFIER_SEED = 0
"""The classifier measures; it is the same in every experiment, whatever the seeds of its students."""


@dataclass(frozen=True)
class Plan:
    """A resolved experiment.

    Attributes:
        experiment: the content of ``experiment.json``.
        configs: run configurations by their path below the plan folder.
        runs: every (problem, student, seed).
        loss_files: the source files that define a loss, by its name.
    """

    experiment: Config
    configs: dict[str, Config] = field(default_factory=dict)
    runs: list[tuple[str, str, int]] = field(default_factory=list)
    loss_files: dict[str, list[str]] = field(default_factory=dict)


def resolve(
    config: Config, registry: Config, schema: Config, source: str = "", published: Config | None = None
) -> Plan:
    """Check an experiment and resolve every run.

    Args:
        config: the experiment as read from YAML.
        registry: what :func:`ttfm.registry.describe` returned.
        schema: the experiment's JSON schema.
        source: the experiment's file, for messages and the report.
        published: figures that papers print, by problem.

    Raises:
        ExperimentError: naming the file and every fault in it.
    """
    try:
        config = validate(config, registry, schema)
    except ExperimentError as error:
        raise ExperimentError(cannot_be_run(source, str(error).splitlines())) from None
    experiment = {key: config[key] for key in ("name", "title", "description")}
    experiment |= {"source": source, "config": config, "budgets": config["budgets"], "baseline": _baseline(config)}
    problems = {name: _Problem(config, registry, name) for name in config["problems"]}
    printed = published or {}
    experiment["problems"] = {
        name: problem.card() | {"published": printed.get(name)} for name, problem in problems.items()
    }
    experiment["students"] = {label: _student_card(student, registry) for label, student in config["students"].items()}
    notes = [problem.latent_note() for problem in problems.values() if problem.latent]
    notes += [problem.guidance_note() for problem in problems.values() if "guidance" in problem.about]
    if notes:
        experiment["notes"] = notes
    plan = Plan(experiment, loss_files={name: loss["files"] for name, loss in registry["losses"].items()})
    for name, problem in problems.items():
        plan.configs.update({f"{name}/{path}": content for path, content in problem.configs().items()})
        plan.runs.extend((name, label, seed) for label in config["students"] for seed in problem.seeds)
    for problem in problems.values():
        for network in problem.weights():
            about = {"experiment": config["name"], "assets": config["assets"], "weights_of": network}
            plan.configs[f"weights/{network}.json"] = about
    return plan


def _baseline(config: Config) -> str:
    """The student that paired differences refer to: the one asked for, else the first of loss lfmd, else the first."""
    lagrangian = [label for label, student in config["students"].items() if student["loss"] == "lfmd"]
    return config["baseline"] or next(iter([*lagrangian, *config["students"]]))


def _student_card(student: Config, registry: Config) -> Config:
    loss = registry["losses"][student["loss"]]
    told = ("title", "family", "source", "learns", "needs_teacher", "starts_from_teacher", "offline")
    card = {key: loss[key] for key in told}
    card |= {"loss": student["loss"], "title": student.get("title", loss["title"]), "note": student["note"]}
    return card | {"start": student["start"]}


class _Problem:
    """One problem of an experiment and the configurations of its runs."""

    def __init__(self, config: Config, registry: Config, name: str):
        self.config, self.registry, self.name = config, registry, name
        self.about: Config = config["problems"][name]
        self.entry: Config = registry["data"][self.about["data"]["name"]]
        self.kind: Kind = self.entry["kind"]
        self.seeds: list[int] = config["seeds"]
        schema = registry["networks"][self.about["network"]["name"]]["options"]
        network = self.about["network"]
        self.network = {"name": network["name"]} | fill(schema, with_preset(network["name"], network))
        training = self.about["training"] | self.about["teacher"] | {"snapshots": []}
        self.teacher = fill(registry["training"], training)
        data = {"name": self.about["data"]["name"]} | fill(self.entry["options"], self.about["data"])
        # A side or a number of channels may be an option of the data: the registry then gives the option's name.
        self.shape: list[int] = [data[side] if isinstance(side, str) else side for side in self.entry["shape"]]
        # Of a problem in latent space the states are latents, which are decoded before images are compared.
        self.latent: Config | None = self.about.get("latent")
        self.states = latent_shape(self.latent, self.shape) if self.latent else self.shape
        self.common = {
            "experiment": config["name"],
            "problem": name,
            "device": config["device"],
            "kind": self.kind,
            "shape": self.states,
            "closed_form": self.entry["closed_form"],
            "source": {"name": self.about["source"]["name"]}
            | fill(registry["sources"][self.about["source"]["name"]]["options"], self.about["source"]),
            "data": data,
        } | ({"latent": {"images": self.shape} | self.latent} if self.latent else {})
        self.students = {label: self._student(label) for label in config["students"]}

    def card(self) -> Config:
        """What the report is to know of the problem."""
        return {
            "title": self.about["title"],
            "description": self.about["description"],
            "kind": self.kind,
            "shape": self.shape,
            "teacher": "closed_form" if self.entry["closed_form"] else "learned",
            # The name alone: where it lies on the machine that ran it says nothing to a reader.
            "imported": Path(self.about["teacher"]["weights"]).name if "weights" in self.about["teacher"] else None,
            "headline": self.about["evaluation"]["headline"],
            "metrics": metric_names(self.kind, asked_metrics(self.about["evaluation"])),
            "seeds": self.seeds,
            "snapshots": any(student["training"]["snapshots"] for student in self.students.values()),
            "averages": any(self._averages(student) for student in self.students.values()),
            "maps": self.about["evaluation"]["maps"],
            "neighbours": bool(nearest_of(self.about["evaluation"]["metrics"])),
        }

    def latent_note(self) -> str:
        """What is measured where, of a problem in latent space, in a sentence for the report."""
        assert self.latent
        return (
            f"{self.about['title']}: teacher and students move between latents of {self.latent['autoencoder']}, "
            f"{' x '.join(map(str, self.states))}. Images are decoded and made bytes before anything compares them; "
            "map errors of training, transport cost, straightness, defects and Jacobians are those of latents."
        )

    def guidance_note(self) -> str:
        """What a step of the teacher costs, of a problem with guidance, in a sentence for the report."""
        return (
            f"{self.about['title']}: the teacher is guided. Inside the interval of guidance a step of its takes two"
            " evaluations of its network, a student's step one."
        )

    def _student(self, label: str) -> Config:
        """Loss, start and training of one student here, without its seed."""
        student = self.config["students"][label]
        loss = self.registry["losses"][student["loss"]]
        override = self.about["students"].get(label, {"options": {}, "training": {}})
        training = self.about["training"] | student["training"] | override["training"]
        training = fill(self.registry["training"], training)
        if not loss["starts_from_teacher"] and not student["start"]:
            # As many training samples as the teacher saw, in this student's batches.
            training["iterations"] += -(-self.teacher["iterations"] * self.teacher["batch"] // training["batch"])
        return {
            "loss": {
                "name": student["loss"],
                "options": fill(loss["options"], student["options"] | override["options"]),
            },
            "loss_modules": loss["modules"],
            "start": student["start"] or ("teacher" if loss["starts_from_teacher"] else "random"),
            "offline": loss["offline"],
            "learns": loss["learns"],
            "training": training,
        }

    def _averages(self, student: Config) -> list[float]:
        """The averages of a student's weights that are scored beside each other; none where there is one."""
        ema = student["training"]["ema"]
        return ema if self.kind == "images" and isinstance(ema, list) and len(ema) > 1 else []

    def _teacher_loss(self) -> Config:
        if self.entry["closed_form"]:
            return {"name": "velocity_regression", "options": {}}
        asked = self.about["teacher_loss"]
        options = {key: value for key, value in asked.items() if key != "name"}
        return {"name": asked["name"], "options": fill(self.registry["losses"][asked["name"]]["options"], options)}

    def configs(self) -> dict[str, Config]:
        """Every run's configuration, by its path below the problem's plan folder."""
        evaluation, network = self.about["evaluation"], {"network": self.network}
        training = fill(self.registry["training"], self.about["training"])
        solved = ("rtol", "atol") if evaluation["solver"] == "dopri5" else ("steps",)
        imported = {key: self.about["teacher"][key] for key in IMPORT if key in self.about["teacher"]}
        teacher_loss = self._teacher_loss()
        modules = self.registry["losses"][teacher_loss["name"]]["modules"]
        found: dict[str, Config] = self._measures() | {
            "teacher.json": network
            | {"loss": teacher_loss, "loss_modules": modules, "training": self.teacher}
            | {"seed": self.about["teacher_seed"]},
            "solution.json": network | {"evaluation": _part(evaluation, "samples", "seed", "solver", *solved)},
            "baselines.json": network | self._scored(),
            "timing.json": network
            | {"students": {label: _part(s, "loss", "loss_modules") for label, s in self.students.items()}}
            | _part(training, "batch", "lr"),
        }
        if imported:
            found["teacher.json"]["import"] = imported
        if training["precision"] != "float32":
            found["timing.json"]["training"] = _part(training, "precision")
        if self.common["data"]["name"] == "digits":
            found["classifier.json"] = {"seed": CLASSIFIER_SEED}
        if any(student["offline"] for student in self.students.values()):
            found["trajectories.json"] = network | {"trajectories": self.about["trajectories"]}
        for label, student in self.students.items():
            about = {"student": label} | network
            training = _part(student, "loss", "loss_modules", "start", "training")
            found |= {f"{label}/{seed}/student.json": about | {"seed": seed} | training for seed in self.seeds}
            scored = {"loss": student["loss"]["name"], "learns": student["learns"]} | self._scored()
            scored["maps"] = evaluation["maps"]
            kept = bool(student["training"]["snapshots"])
            if self.kind == "images":
                scored["snapshots"] = kept
                if averages := self._averages(student):
                    scored["averages"] = averages
            elif kept:
                scored["headline"] = evaluation["headline"]
            found[f"{label}/evaluate.json"] = about | scored
        if guidance := self.about.get("guidance"):
            # It changes what is asked of the teacher, not how the teacher is trained.
            asking = (content for path, content in found.items() if "network" in content and path != "teacher.json")
            for content in asking:
                content["guidance"] = guidance
        configs = {path: self.common | content for path, content in found.items()}
        configs |= {"images.json": self._images()} if self.kind == "images" else {}
        return configs | ({"latents.json": self._latents()} if self.latent else {})

    def _measures(self) -> dict[str, Config]:
        """What samples are compared with: sets of points, or networks and their view of real images."""
        evaluation = self.about["evaluation"]
        if self.kind == "points":
            return {"data.json": {"evaluation": _part(evaluation, "samples", "seed")}}
        nearest = nearest_of(evaluation["metrics"])
        scored = [name for name in evaluation["metrics"] if name not in nearest]
        looked_up = {"metrics": nearest, "budgets": self.config["budgets"]}
        return ({"neighbours.json": looked_up} if nearest else {}) | {
            "features.json": {"headline": METRICS[evaluation["headline"]].extractor},
            "reference.json": {
                "evaluation": _part(evaluation, "samples", "reference"),
                "least": least_of(evaluation["metrics"]),
            },
            "score.json": {
                "evaluation": _part(evaluation, "samples", "reference") | {"metrics": scored},
                "headline": evaluation["headline"],
                "networks": networks_of(evaluation["metrics"]),
                "trunks": trunks_of(evaluation["metrics"]),
            },
        }

    def weights(self) -> list[str]:
        """The networks whose weights have to be found."""
        if self.kind == "points":
            return []
        asked = self.about["evaluation"]["metrics"]
        found = [name for name in networks_of(asked) if not NETWORKS[name].trained]
        return [*found, *(f"lpips-{trunk}" for trunk in trunks_of(asked))]

    def _images(self) -> Config:
        """What decides the arrays of a set of images; flips do not, they are made while training."""
        data = {key: value for key, value in self.common["data"].items() if key != "flips"}
        return _part(self.common, "experiment", "problem") | {"data": data, "assets": self.config["assets"]}

    def _latents(self) -> Config:
        """What decides a set of latents, beside the images that they are made of."""
        flips = bool(self.common["data"].get("flips"))
        about = _part(self.common, "experiment", "problem", "device", "shape", "latent")
        return about | {"flips": flips, "assets": self.config["assets"]}

    def _scored(self) -> Config:
        return {
            "evaluation": _part(self.about["evaluation"], "samples", "seed", "shown", "histogram_samples"),
            "budgets": self.config["budgets"],
        }


def _part(config: Config, *keys: str) -> Config:
    return {key: config[key] for key in keys}
