"""Which held-out items share an image or belong to one pair: the clusters of every interval and test over items."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from rollouts.media import with_hash
from rollouts.records import Media, Sample

# The tag in which a data set names what its rows have in common (a video, a patient, an article).
CLUSTER = "cluster"


def clusters_of(samples: Sequence[Sample]) -> list[str]:
    """The cluster of each item, in order.

    What its tag `cluster` says; else items belong together that show the same first image or are members of one pair
    (`pair_id`), and whoever is linked by either. An item without image, pair and tag stands alone. An image is known by
    its hash, or where no loader made one and it is a file, by its path.
    """
    leaders: dict[str, str] = {}

    def leader(name: str) -> str:
        while (above := leaders.setdefault(name, name)) != name:
            leaders[name] = leaders[above]
            name = above
        return name

    names = []
    for place, sample in enumerate(samples):
        links = _links(sample) or [f"item {place} {sample.id}"]
        for link in links[1:]:
            leaders[leader(link)] = leader(links[0])
        names.append(links[0])
    return [leader(name) for name in names]


def _links(sample: Sample) -> list[str]:
    if tag := sample.tags.get(CLUSTER):
        return [f"tag {tag}"]
    links = [f"image {_name(sample.media[0])}"] if sample.media else []
    return links + ([f"pair {sample.pair_id}"] if sample.pair_id else [])


def _name(media: Media) -> str:
    if media.sha256:
        return media.sha256
    if media.path is not None:
        return hashlib.sha256(media.path.encode("utf-8", "surrogateescape")).hexdigest()
    return with_hash(media).sha256
