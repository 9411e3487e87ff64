"""What jobs ask a cluster for: memory and minutes."""

# One machine limits nothing by it, unless `--resources mem_mb=...` says so.
# GB of torch, a network, its state and the features of a set of images; on a GPU CUDA's libraries too.
FLOOR_GB = 2 if PLAN.experiment["config"]["device"] == "cpu" else 8
# GB of a network's inner values on a CPU, for a batch of images larger than those of digits: 2.4 in all were measured with
# Fashion-MNIST. A GPU holds them itself.
INNER_GB = 1 if PLAN.experiment["config"]["device"] == "cpu" else 0
DIGIT = 64  # pixels
# Numbers of states that pass a network in a minute: a third of what a large GPU does by arithmetic, or less. What CPUs
# sample takes minutes anyway.
NUMBERS_A_MINUTE = 2e8
# Images that are scored in a minute, for which a Fréchet distance of 2,048 features has one core.
IMAGES_A_MINUTE = 5000


def more(amount, attempt):
    """Twice of it once a job has failed. No more than that: every piece of a training is an attempt too."""
    return int(amount) * min(attempt, 2)


def memory(wildcards, attempt):
    """MB; a problem of images has one set of them as floats on top."""
    about = PLAN.configs.get(f"{getattr(wildcards, 'problem', '')}/baselines.json", {"kind": ""})
    if about["kind"] != "images":
        return more(1000 * FLOOR_GB, attempt)
    pixels = math.prod(image_shape(about))
    inner = INNER_GB if pixels > DIGIT else 0
    return more(1000 * (FLOOR_GB + inner + round(4 * about["evaluation"]["samples"] * pixels / 1e9)), attempt)


def training_minutes(wildcards):
    """Four days of images on a GPU, one of points and of what is small enough for a CPU; a longer one comes in pieces."""
    images = PROBLEMS[wildcards.problem]["kind"] == "images"
    return 4 * 1440 if images and PLAN.experiment["config"]["device"] != "cpu" else 1440


def scored_networks(wildcards):
    """Those of a student: the final one of every seed, and where asked those kept on the way and other averages."""
    folder = f"{wildcards.problem}/{wildcards.student}"
    kept = PLAN.configs[f"{folder}/{SEEDS[0]}/student.json"]["training"].get("snapshots") or []
    averages = PLAN.configs[f"{folder}/evaluate.json"].get("averages") or []
    return len(SEEDS) * (1 + len(kept) + len(averages[1:]))


def sampling_minutes(wildcards, attempt):
    """An hour, a minute for every network, and the evaluations of all budgets; a teacher takes Euler steps."""
    networks = scored_networks(wildcards) if hasattr(wildcards, "student") else 1
    about = PLAN.configs[f"{wildcards.problem}/baselines.json"]
    numbers = about["evaluation"]["samples"] * math.prod(about["shape"]) * sum(about["budgets"])
    return more(60 + networks * (1 + numbers / NUMBERS_A_MINUTE), attempt)


def solving_minutes(wildcards, attempt):
    """Two hours and two evaluations for every step of the fine ODE; an adaptive solver is taken for one of 128 steps."""
    about = PLAN.configs[f"{wildcards.problem}/solution.json"]
    steps = about["evaluation"].get("steps", 128) * (2 if "guidance" in about else 1)
    numbers = about["evaluation"]["samples"] * math.prod(about["shape"]) * 2 * steps
    return more(120 + numbers / NUMBERS_A_MINUTE, attempt)


def scoring_minutes(wildcards, attempt):
    """An hour, and what the images of all sets take, features or scores."""
    networks = scored_networks(wildcards) if hasattr(wildcards, "student") else 1
    about = PLAN.configs[f"{wildcards.problem}/baselines.json"]
    images = about["evaluation"]["samples"] * networks * (len(about["budgets"]) + 1)
    return more(60 + images / IMAGES_A_MINUTE, attempt)
