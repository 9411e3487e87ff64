"""The experiment, checked and resolved; names and file lists that the rules share."""

import functools
import gc
import hashlib
import math
import os
import shutil
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir)))

from ttfm.devices import may_have_gpu, visible_gpus
from ttfm.experiment import ExperimentError
from ttfm.files import sha256
from ttfm.imports import with_imports
from ttfm.locks import claim, tidy
from ttfm.planning import plan
from ttfm.reporting.names import PAGE_ALONE, PICTURES, figure_names, table_files
from ttfm.steps.decoding import image_shape

# A plan is many objects that stay; to look through them all time and again for some that do not takes a quarter of it.
gc.set_threshold(100_000)

# Only whoever is alone may clean up, and only a run itself may plan: a job that parses this again must do neither.
MAIN = workflow.is_main_process
if MAIN and claim(Path.cwd()):
    tidy(Path.cwd())

SOURCE = ", ".join(os.path.relpath(path) for path in workflow.overwrite_configfiles)
SOURCE = SOURCE or "workflow/experiments/default.yaml"

try:
    PLAN = plan(dict(config), SOURCE, write=MAIN, claim=functools.partial(claim, Path.cwd()))
except (ExperimentError, FileNotFoundError, ValueError) as error:
    raise WorkflowError(str(error))

NAME = PLAN.experiment["name"]
ROOT = f"results/{NAME}"
EXPERIMENT = f"{ROOT}/experiment.json"
PAGE = f"report/{NAME}/index.html"
PROBLEMS = PLAN.experiment["problems"]
STUDENTS = PLAN.experiment["students"]
FIGURES = figure_names(PROBLEMS, STUDENTS)


digest = functools.cache(sha256)

SEEDS = list(dict.fromkeys(seed for _, _, seed in PLAN.runs))


def each_of(seeds, pattern):
    """`pattern` for some of the seeds."""
    return expand(pattern, seed=seeds, allow_missing=True)


def each_seed(pattern):
    """`pattern` for every seed. What takes seconds a run is done for a student's seeds in one process."""
    return each_of(SEEDS, pattern)


# Seeds of points that one job trains at once; of images each is a job of its own.
TOGETHER = PLAN.experiment["config"]["seeds_together"]
GROUPS = [SEEDS[first : first + TOGETHER] for first in range(0, len(SEEDS), TOGETHER)] if TOGETHER > 1 else []


def group_name(seeds):
    """The rule that trains a group of seeds."""
    return f"student_{'_'.join(map(str, seeds))}"


# Processes that train one network together. What is no number is refused by the trainings, in words.
RANKS = os.environ.get("TTFM_RANKS", "1")
RANKS = int(RANKS) if RANKS.isdigit() else 1


NOTHING = "(?!)"
# Bytes of generated images per set above which they are deleted once they are scored.
KEPT_BYTES = 2**24
# Less than this is a full disk: what a job had begun to write is gone again when somebody looks.
FULL_BYTES = 2**22
POINTS = "|".join(name for name, about in PROBLEMS.items() if about["kind"] == "points") or NOTHING
IMAGES = "|".join(name for name, about in PROBLEMS.items() if about["kind"] == "images") or NOTHING
# Problems whose students are trained a seed at a time.
SINGLY = IMAGES if GROUPS else "|".join(PROBLEMS)
LATENT = "|".join(name for name in PROBLEMS if f"{name}/latents.json" in PLAN.configs) or NOTHING


def large(path):
    """A file of generated images or features: kept only where the experiment makes little of it."""
    amounts = [
        about["evaluation"]["samples"] * math.prod(image_shape(about))
        for name, about in PLAN.configs.items()
        if name.endswith("baselines.json") and about["kind"] == "images"
    ]
    return temp(path) if max(amounts, default=0) > KEPT_BYTES else path


# Snakemake counts places on GPUs; which one a job takes is decided when it starts, by who has the fewest. Where nobody
# has said how many there are, as every profile but the default one does, they are those of this machine.
if MAIN:
    share = PLAN.experiment["config"]["gpu_share"]
    if "gpu" in workflow.global_resources:
        if share > 1:
            workflow.register_resource("gpu", workflow.global_resources["gpu"].value * share)
    elif workflow.local_exec and PLAN.experiment["config"]["device"] != "cpu" and (here := visible_gpus()):
        workflow.register_resource("gpu", here * share)


wildcard_constraints:
    problem="|".join(PROBLEMS),
    student="|".join(STUDENTS),
    seed=r"\d+",
    network="[a-z0-9-]+",


def modules(*patterns):
    """The package's source files that a step depends on."""
    found = (path for pattern in patterns for path in Path("ttfm").glob(pattern))
    return sorted(str(path) for path in found if path.is_file())


def made_of(files, config, seeds=None, **others):
    """What decides a job's result besides files of the workflow, as a digest: source files, resolved config, loss.

    It is a parameter of the job, and Snakemake does a job again whose parameters have changed: dates do not matter,
    and an edit that is made while a job runs, which read the files before it, is seen by the next call.

    Args:
        files: source files.
        config: pattern of the config's path; one with seeds that the job does not have stands for all of them.
        seeds: those that it stands for, if not all.
        others: functions from wildcards to further files.
    """
    code = [digest(file) for file in files]

    def found(wildcards):
        names = dict(wildcards)
        several = (seeds or SEEDS) if "{seed}" in config else [0]
        numbers = [names["seed"]] if "seed" in names else several
        paths = [config.format(**names | {"seed": number}) for number in numbers]
        paths += [path for files_of in others.values() for path in files_of(wildcards)]
        return hashlib.sha256("".join([*code, *map(digest, paths)]).encode()).hexdigest()[:16]

    return found


BASE = modules(
    "files.py",
    "seeds.py",
    "pieces.py",
    "options.py",
    "devices.py",
    "steps/common.py",
    "steps/stored.py",
    "steps/decoding.py",
)
READERS = modules(
    *[f"data/{name}.py" for name in ("celeba", "cifar10", "decoding", "digits", "finding", "folder", "mnist")]
)
FLOW = modules("flow/*.py")
MODEL = FLOW + modules("networks/*.py")
# Sets of images are read by one rule; an edit of a reader changes nothing else but through their files.
DATA = [path for path in modules("data/*.py", "registry.py") if path not in READERS]
TRAINING = (
    BASE
    + MODEL
    + DATA
    + modules("training/*.py", "steps/training.py", "losses/base.py", "losses/__init__.py")
)
STUDENT_CODE = TRAINING + modules("steps/student.py", "evaluation/paired.py", "evaluation/checks.py")
DESCRIBING = (
    BASE
    + MODEL
    + DATA
    + modules(
        *[
            f"evaluation/{name}.py"
            for name in (
                *(
                    "catalogue",
                    "checks",
                    "defects",
                    "diagnostics",
                    "distances",
                    "image_metrics",
                    "metric",
                    "paired",
                ),
                *("quantisation", "sample_sets", "sampling", "scoring"),
            )
        ],
        "steps/scoring.py",
        "steps/trained.py",
    )
)
SCORING = BASE + MODEL + DATA + modules("evaluation/*.py", "steps/scoring.py", "steps/trained.py")
FEATURES = BASE + modules(
    "evaluation/features.py",
    "evaluation/weights.py",
    "evaluation/checks.py",
    "evaluation/classifier.py",
    "evaluation/quantisation.py",
    "evaluation/sample_sets.py",
    "evaluation/extractors/*.py",
    "steps/network.py",
)


def loss_files(wildcards):
    """The files that define the loss of a student, or of the teacher where no student is meant."""
    if hasattr(wildcards, "student"):
        return PLAN.loss_files[STUDENTS[wildcards.student]["loss"]]
    return PLAN.loss_files[PLAN.configs[f"{wildcards.problem}/teacher.json"]["loss"]["name"]]


def teacher_files(wildcards):
    """The files of a teacher that was trained elsewhere: its weights, its adapter and what that imports."""
    files = PLAN.configs[f"{wildcards.problem}/teacher.json"].get("import", {})
    return [
        path for key, path in files.items() for path in (with_imports([path]) if key == "adapter" else [path])
    ]


def every_loss_file(wildcards):
    return sorted({path for student in STUDENTS.values() for path in PLAN.loss_files[student["loss"]]})


def student_start(wildcards, seeds=None):
    """What a student needs besides its teacher: what is stored of its ODE, or another student to start from."""
    card = STUDENTS[wildcards.student]
    found = stored_for(wildcards.problem, [card["offline"]])
    if card["start"]:
        seeds = seeds or [wildcards.seed]
        folders = [f"{ROOT}/{wildcards.problem}/{card['start']}/{seed}" for seed in seeds]
        found["start"] = [f"{folder}/weights.safetensors" for folder in folders]
        found["start_record"] = [f"{folder}/record.json" for folder in folders]
    return found


def kept_weights(wildcards):
    """Weights kept while a student was trained, and other averages of them, of every seed: where they are scored."""
    about = PLAN.configs[f"{wildcards.problem}/{wildcards.student}/evaluate.json"]
    scored = {"snapshots": about.get("snapshots") or "headline" in about, "averages": "averages" in about}
    folder = f"{ROOT}/{wildcards.problem}/{wildcards.student}"
    return {
        name: [f"{folder}/{seed}/{name}.safetensors" for seed in SEEDS]
        for name, asked in scored.items()
        if asked
    }


def stored_for(problem, kinds):
    """The files that losses of these kinds train on, by the arguments that name them."""
    asked = {"pairs": "pairs" in kinds, "schedules": "schedules" in kinds}
    asked["trajectories"] = "trajectories" in kinds or "schedules" in kinds
    return {name: f"{ROOT}/{problem}/{name}.npz" for name, wanted in asked.items() if wanted}


def timing_trajectories(wildcards):
    return stored_for(wildcards.problem, [card["offline"] for card in STUDENTS.values()])


def networks_of(problem):
    """The networks of features that score a problem of images."""
    return PLAN.configs[f"{problem}/score.json"]["networks"]


def trunks_of(problem):
    """The trunks of LPIPS that score a problem of images."""
    return PLAN.configs[f"{problem}/score.json"]["trunks"]


def network_weights(wildcards):
    """The weights of a network of features and their record: found ones, or the classifier that is trained here."""
    if wildcards.network == "digits-classifier":
        folder = f"{ROOT}/{wildcards.problem}/classifier"
        return {"weights": f"{folder}/weights.safetensors", "weights_record": f"{folder}/record.json"}
    stem = f"{ROOT}/weights/{wildcards.network}"
    return {"weights": f"{stem}.safetensors", "weights_record": f"{stem}.json"}


def scoring_files(*folders):
    """What scoring reads besides the images in `folders`: features, references and trunks."""

    def files(wildcards):
        at = [folder.format(**wildcards) for folder in folders]
        real = f"{ROOT}/{wildcards.problem}/reference"
        found = []
        for network in networks_of(wildcards.problem):
            found += [f"{folder}/features/{network}.{end}" for folder in at for end in ("npy", "json")]
            found += [f"{real}/{network}.npz", f"{real}/{network}.json"]
        for trunk in trunks_of(wildcards.problem):
            found += [f"{ROOT}/weights/lpips-{trunk}.safetensors", f"{ROOT}/weights/lpips-{trunk}.json"]
        return found

    return files


def generated_sets(wildcards):
    """Images of the teacher and of every student's first seed, each with its index."""
    at, seed = f"{ROOT}/{wildcards.problem}", SEEDS[0]
    folders = [f"{at}/baselines", *(f"{at}/{student}/{seed}" for student in STUDENTS)]
    return [f"{folder}/images.{ending}" for folder in folders for ending in ("npy", "json")]


def set_arguments(wildcards, input):
    """The same files as arguments, two for each set."""
    files = iter(input.sets)
    return " ".join(f"--sets {pixels} {index}" for pixels, index in zip(files, files))


def neighbours(file):
    """A file of the neighbours step, for every problem that asks for it."""
    return [f"{ROOT}/{name}/neighbours/{file}" for name, about in PROBLEMS.items() if about["neighbours"]]


def image_set(wildcards):
    """The problem's images, where it is one of images: the file that is written last and holds the others' sha256."""
    if PROBLEMS[wildcards.problem]["kind"] != "images":
        return {}
    return {"images": f"{ROOT}/{wildcards.problem}/images/about.json"}


def latents(problem):
    """The problem's latents and autoencoder, where it has them: again the file that is written last."""
    return f"{ROOT}/{problem}/latents/about.json" if f"{problem}/latents.json" in PLAN.configs else ""


def states(wildcards):
    """What the problem's flows lead to: its latents, or its images."""
    found = latents(wildcards.problem)
    return {"images": found} if found else image_set(wildcards)


def decoder_files(wildcards):
    """The source files by which states become images, where these are latents."""
    return modules("latent/*.py") if latents(wildcards.problem) else []


def reconstructed_images(wildcards):
    """The test images as the problem's autoencoder has them."""
    found = latents(wildcards.problem)
    return {"latents": found} if found else {}


def reconstructed_argument(wildcards, input):
    return f"--latents {Path(input.latents).parent}" if "latents" in input.keys() else ""


def images_argument(wildcards, input):
    return f"--images {Path(input.images).parent}" if "images" in input.keys() else ""


def arguments_of(inputs):
    """The command-line arguments for those named inputs that only some jobs have."""
    return lambda wildcards, input: " ".join(
        f"--{name.replace('_', '-')} {input[name]}" for name in inputs(wildcards)
    )


def runs(pattern):
    """`pattern` filled in for every run of the plan."""
    return [f"{ROOT}/{pattern}".format(problem=p, student=s, seed=n) for p, s, n in PLAN.runs]


def students(pattern):
    """`pattern` filled in for every student of every problem."""
    return [f"{ROOT}/{pattern}".format(problem=p, student=s) for p in PROBLEMS for s in STUDENTS]


def problems(pattern):
    return [f"{ROOT}/{pattern}".format(problem=p) for p in PROBLEMS]
