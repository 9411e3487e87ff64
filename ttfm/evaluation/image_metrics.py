"""The metrics of images: which network, which comparison, and what they may be called. Imports nothing heavy.

A name is earned: only the network of 2015-12-05 with its 2,048 features makes an FID, a KID or an Inception score.
Other networks give distances with their own names, which compare with nothing published under those.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ttfm.evaluation.metric import Metric


@dataclass(frozen=True)
class Network:
    """What can be known of a network of features without loading it.

    Attributes:
        dimension: number of features.
        side: height and width of the images it takes; 0 if it takes any.
        data: the only data set it is for; empty if for any.
        trained: whether an experiment trains it; the others' weights are found.
    """

    dimension: int
    side: int = 0
    data: str = ""
    trained: bool = False


NETWORKS = {
    "digits-classifier": Network(64, 8, "digits", trained=True),
    "cifar-resnet56": Network(64, 32),
    "inception-keras-768": Network(768),
    "inception-v3-compat": Network(2048),
    "dinov2-vits14": Network(384),
    "dinov2-vitl14": Network(1024),
}
"""Every network of features by the name that tables use."""

DEFAULTS = {
    "digits": ("fd-digits", "kid-digits", "lpips-squeeze", "l2", "psnr"),
    "cifar10": (
        *("fd-cifar-resnet56", "kid-cifar-resnet56", "fd-inception-keras-768", "kid-inception-keras-768"),
        *("lpips-squeeze", "l2", "psnr"),
    ),
}
"""What a data set is measured by where an experiment does not say."""
OTHERWISE = ("fd-inception-keras-768", "kid-inception-keras-768", "lpips-squeeze", "l2", "psnr")
"""The same for any other set of images."""

_INCEPTION = "the Inception network of 2015-12-05"
_SIZES = "Biased upwards for few samples: compare at equal numbers only."


def _distances(name: str, network: str, short: str, what: str, note: str = "") -> tuple[Metric, Metric]:
    """The Fréchet and the kernel distance of a network other than FID's."""
    features = f"{NETWORKS[network].dimension:,} features of {what}"
    return (
        Metric(
            f"fd-{name}",
            f"Fréchet distance ({short})",
            f"Generated images against real ones: Fréchet distance of Gaussians fitted to {features}. Not an FID. "
            f"{_SIZES}{note}",
            "feature units²",
            depends_on_steps=True,
            kind="images",
            optional=True,
            extractor=network,
            score="frechet",
        ),
        Metric(
            f"kid-{name}",
            f"Kernel distance ({short})",
            f"Generated images against real ones: unbiased squared MMD with a cubic kernel on {features}. The "
            f"estimator of KID on another network.{note}",
            "",
            depends_on_steps=True,
            kind="images",
            signed=True,
            optional=True,
            extractor=network,
            score="kid",
        ),
    )


def _inception(name: str, title: str, description: str, score: str, **more: bool) -> Metric:
    """A metric of the network of 2015-12-05."""
    return Metric(
        name,
        title,
        description,
        "",
        depends_on_steps=True,
        kind="images",
        optional=True,
        extractor="inception-v3-compat",
        score=score,
        **more,
    )


def _lpips(net: str, title: str) -> Metric:
    return Metric(
        f"lpips-{net}",
        f"LPIPS ({title})",
        "The student's image against the teacher's fine ODE solution from the same noise, both as bytes: mean learned "
        "perceptual distance, images enlarged to 32 pixels where smaller.",
        "",
        depends_on_steps=True,
        kind="images",
        optional=True,
        score="paired",
    )


def _nearest(name: str, title: str, description: str) -> Metric:
    """A description of how close generated images lie to training images, by pixels."""
    return Metric(
        name,
        title,
        f"{description} At the largest number of steps, of the first seed.",
        "",
        depends_on_steps=False,
        kind="images",
        ranked=False,
        optional=True,
        score="nearest",
    )


IMAGE_METRICS = (
    *_distances(
        "digits",
        "digits-classifier",
        "digits",
        "a small digit classifier",
        " The floor compares the images the classifier was trained on with the test digits.",
    ),
    _inception(
        "fid",
        "FID",
        f"Generated images against real ones: Fréchet distance of Gaussians fitted to 2,048 features of {_INCEPTION}. "
        f"{_SIZES}",
        "frechet",
    ),
    _inception(
        "fid-infinity",
        "FID, extrapolated",
        "FID of 15 subsets of the generated images, extrapolated along a line in 1 / N to infinitely many of them. The "
        "bias of the reference set remains.",
        "frechet-infinity",
        signed=True,
    ),
    _inception(
        "kid",
        "KID",
        f"Generated images against real ones: unbiased squared MMD with a cubic kernel on 2,048 features of "
        f"{_INCEPTION}, mean over 100 subsets of 1,000.",
        "kid",
        signed=True,
    ),
    *_distances(
        "inception-keras-768",
        "inception-keras-768",
        "Inception, Keras, 768",
        "Keras's ImageNet Inception-v3, an inner layer",
    ),
    *_distances("cifar-resnet56", "cifar-resnet56", "CIFAR-10 ResNet-56", "a CIFAR-10 classifier"),
    *_distances(
        "dinov2",
        "dinov2-vitl14",
        "DINOv2 ViT-L/14",
        "DINOv2 ViT-L/14",
        " Images are resized as for FID; published values mostly resize otherwise.",
    ),
    *_distances("dinov2-vits14", "dinov2-vits14", "DINOv2 ViT-S/14", "DINOv2 ViT-S/14"),
    _inception(
        "precision",
        "Precision",
        f"Share of generated images within the manifold of real ones, by features of {_INCEPTION} and 3 neighbours. "
        "Depends on the numbers of images. Higher is better.",
        "precision",
        higher=True,
    ),
    _inception(
        "recall",
        "Recall",
        f"Share of real images within the manifold of generated ones, by features of {_INCEPTION} and 3 neighbours. "
        "Depends on the numbers of images. Higher is better.",
        "recall",
        higher=True,
    ),
    _inception(
        "inception_score",
        "Inception score",
        f"How surely {_INCEPTION} classes each generated image, and how evenly all of them; mean over 10 parts. It "
        "looks at no real image, and means little for images unlike ImageNet's. Higher is better.",
        "inception-score",
        higher=True,
    ),
    _lpips("squeeze", "SqueezeNet"),
    _lpips("alex", "AlexNet"),
    _lpips("vgg", "VGG-16"),
    Metric(
        "l2",
        "Pixel error",
        "The student's image against the teacher's fine ODE solution from the same noise, both as bytes, root of the "
        "mean square difference per pixel.",
        "pixel units, range 2",
        depends_on_steps=True,
        kind="images",
        optional=True,
        score="paired",
    ),
    Metric(
        "psnr",
        "PSNR",
        "The student's image against the teacher's fine ODE solution from the same noise, both as bytes: peak "
        "signal-to-noise ratio, mean over images, of which none counts above that of rounding, 58.9. Higher is better.",
        "dB",
        depends_on_steps=True,
        kind="images",
        higher=True,
        optional=True,
        score="paired",
    ),
    _nearest(
        "nearest-train",
        "Distance to training images",
        "Median distance of generated images to their nearest training images over that of unseen real images, both as "
        "bytes: near 1 for new images as sharp as real ones, near 0 for copies, below 1 for blurred images too.",
    ),
    _nearest(
        "copied-train",
        "Share of likely copies",
        "Share of generated images that are closer to a training image than all but 1 % of unseen real images are, "
        "both as bytes. Of unseen images themselves it is 0.01; blurred or empty images are close to training images "
        "without being copies.",
    ),
)
"""Every metric of images, in display order."""


def default_metrics(data: str, samples: int) -> list[str]:
    """What a set of images is measured by where an experiment does not say: as far as ``samples`` suffice."""
    chosen = DEFAULTS.get(data, OTHERWISE)
    needs = {metric.name: samples_needed(metric) for metric in IMAGE_METRICS}
    return [name for name in chosen if needs[name] <= samples]


def frechet_samples(data: str) -> int:
    """The fewest samples with which one of a set's usual Fréchet distances can be measured."""
    usual = set(DEFAULTS.get(data, OTHERWISE))
    return min(samples_needed(metric) for metric in IMAGE_METRICS if metric.name in usual and metric.score == "frechet")


def networks_of(metrics: Iterable[str]) -> list[str]:
    """The networks of features that these metrics need, each once."""
    wanted = set(metrics)
    return list(dict.fromkeys(m.extractor for m in IMAGE_METRICS if m.name in wanted and m.extractor))


def trunks_of(metrics: Iterable[str]) -> list[str]:
    """The trunks of LPIPS that these metrics need."""
    return [name.removeprefix("lpips-") for name in metrics if name.startswith("lpips-")]


def nearest_of(metrics: Iterable[str]) -> list[str]:
    """Those of these metrics that compare generated images with training images one by one."""
    wanted = set(metrics)
    return [metric.name for metric in IMAGE_METRICS if metric.name in wanted and metric.score == "nearest"]


def least_of(metrics: Iterable[str]) -> dict[str, dict[str, int]]:
    """For each network of features, the metrics among these that ask it and the fewest samples of each."""
    wanted = set(metrics)
    found: dict[str, dict[str, int]] = {}
    for metric in IMAGE_METRICS:
        if metric.name in wanted and metric.extractor:
            found.setdefault(metric.extractor, {})[metric.name] = samples_needed(metric)
    return found


def samples_needed(metric: Metric) -> int:
    """The fewest samples a metric can be measured with."""
    dimension = NETWORKS[metric.extractor].dimension if metric.extractor else 0
    least = {"frechet": 2 * dimension, "frechet-infinity": 4 * dimension, "kid": 2, "precision": 4, "recall": 4}
    return least.get(metric.score, 10 if metric.score == "inception-score" else 1)
