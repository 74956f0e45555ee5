"""Every way of re-ranking by the method that `search.rerank.method` names."""

from functools import partial

from pipeline.reranking.box_reranking import BoxReranker
from pipeline.reranking.content import Content
from pipeline.reranking.diffusion import diffusion_scores
from pipeline.reranking.k_reciprocal import k_reciprocal_scores
from pipeline.reranking.neighbourhoods import Neighbourhoods
from pipeline.reranking.params import (
    DiffusionParameters,
    KReciprocalParameters,
    LocalizationParameters,
    RefinedDescriptorsParameters,
    ShortlistParameters,
    SpatialVerificationParameters,
)
from pipeline.reranking.refined_descriptors import refined_scores
from pipeline.reranking.shortlists import Reranker
from pipeline.reranking.spatial_verification import SpatialVerifier


def build_reranker(parameters: ShortlistParameters, content: Content) -> Reranker:
    """The way of re-ranking that has these parameters."""
    match parameters:
        case LocalizationParameters():
            return BoxReranker(parameters, content)
        case SpatialVerificationParameters():
            return SpatialVerifier(parameters, content)
        case KReciprocalParameters(nearest=nearest, local=local, balance=balance):
            return Neighbourhoods(partial(k_reciprocal_scores, nearest=nearest, local=local, balance=balance))
        case DiffusionParameters():
            return Neighbourhoods(partial(diffusion_scores, **parameters.model_dump(exclude={"shortlist", "expansion"})))
        case RefinedDescriptorsParameters(neighbours=neighbours, weight=weight, best=best):
            return Neighbourhoods(partial(refined_scores, neighbours=neighbours, weight=weight, best=best))
        case _:
            raise TypeError(f"{type(parameters).__name__} belongs to no way of re-ranking")
