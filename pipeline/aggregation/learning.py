"""Learning a method on the feature maps of a held-out set."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch

from pipeline.aggregation.describers.registry import new_describer
from pipeline.aggregation.params import MethodParameters
from pipeline.contracts.features.feature_parameters import NetworkChoice
from pipeline.contracts.models import State
from pipeline.contracts.running.device import choose_device, hold
from pipeline.maps.stream import MapBatch, stream_maps
from pipeline.stage import places


def learn(method: str, parameters: MethodParameters, held_out: str, instances: Mapping[str, str | None], choice: NetworkChoice) -> State:
    """What a describer learns on the held-out images, and what it takes over of the network.

    Args:
        held_out: the data set.
        instances: what each image that is learned on shows, by id; None where that is not known.
        choice: the network and layers of the maps.

    Raises:
        ModelError: too few images for what is wanted, or a network that lacks what the method needs.
    """
    describer = new_describer(method, parameters)
    describer.adopt(places.network(choice.name), choice)
    if parameters.learns:
        with hold(choose_device()) as device:
            describer.fit(lambda: _maps(held_out, instances, device, with_pictures=parameters.needs_pictures))
    return describer.state()


def _maps(held_out: str, instances: Mapping[str, str | None], device: torch.device, *, with_pictures: bool) -> Iterator[MapBatch]:
    images = places.images(held_out) if with_pictures else None
    for ids, maps in stream_maps(places.features(held_out), set(instances), device, images):
        yield replace(maps, instances=[instances[image_id] for image_id in ids])
