"""What CLIP's cosines become: three scores that people publish, from one set of embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Hessel et al. 2021, eq. 1.
RESCALED = 2.5


def clip_scales(cosines: Sequence[Tensor]) -> dict[str, float]:
    """Return a score in three forms.

    cosines: of each video, (images,) of its images with its caption

    value:             CLIPSIM (Wu et al. 2021, GODIVA): the mean over images, then over videos
    clipscore_2.5x:    CLIPScore (Hessel et al. 2021): 2.5 · max(cosine, 0) of each image, then the same means
    torchmetrics_100x: torchmetrics' CLIPScore: 100 · the mean over all images, which is then not below 0
    """
    each = [one.double() for one in cosines]
    similarity = torch.stack([one.mean() for one in each]).mean()
    rescaled = torch.stack([(RESCALED * one.clamp_min(0)).mean() for one in each]).mean()
    hundredfold = (100 * torch.cat(each).mean()).clamp_min(0)
    return {
        "value": round(float(similarity), 4),
        "clipscore_2.5x": round(float(rescaled), 4),
        "torchmetrics_100x": round(float(hundredfold), 4),
    }
