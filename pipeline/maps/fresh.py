"""Feature maps straight from loaded photographs, the same as those that feature shards would give."""

from pipeline.extraction.inference import FeatureExtractor
from pipeline.extraction.loading import LoadedBatch
from pipeline.maps.pictures import Picture
from pipeline.maps.stream import MapBatch, as_tensor, map_batch


def fresh_maps(batch: LoadedBatch, extractor: FeatureExtractor, with_pictures: bool) -> MapBatch:
    """The maps of a batch, which pass through the stored type on their way."""
    features = extractor.features(batch)
    scales = [as_tensor(array, extractor.device) for array in features.maps]
    pictures = [Picture(pixels, batch.plan.part) for pixels in batch.pixels] if with_pictures else ()
    return map_batch(features, scales, pictures)
