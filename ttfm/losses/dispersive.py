"""The dispersive regulariser, an option of losses and none by itself."""

from __future__ import annotations

import math

from torch import Tensor


def dispersion(features: Tensor, temperature: float) -> Tensor:
    r"""How close the features of a batch lie to one another, the same value for every sample, ``(B,)``.

    .. math:: \log \frac{1}{B^2} \sum_{i,j} \exp(-\|z_i - z_j\|^2 / (D \tau))

    The InfoNCE form with squared distances of Wang and He (arXiv 2506.09027, eq. 6), a contrastive loss without
    positive pairs; its minimisation drives features apart. As in their published code the distances are divided by the
    features' dimension D, and the pairs i = j are kept.

    Cost: all pairs of the batch, B^2 D operations and no pass through the network. The value is of the batch as a
    whole, so that it depends on the batch's size, and a large weight drives features apart that belong together.

    Args:
        features: z, ``(B, *shape)``.
        temperature: tau > 0.
    """
    z = features.flatten(1)
    norms = z.square().sum(1)
    distances = (norms[:, None] + norms[None] - 2 * z @ z.T).clamp(min=0)
    value = (-distances / (z.shape[1] * temperature)).flatten().logsumexp(0) - 2 * math.log(len(z))
    return value.expand(len(z))
