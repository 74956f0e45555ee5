"""Every step of training by the name that finetune.NAME.step of params.yaml gives it."""

from typing import Any

from pipeline.finetuning.classification import Classification
from pipeline.finetuning.fully_convolutional import FullyConvolutional
from pipeline.finetuning.region_description import RegionDescription

STEP_CLASSES: dict[str, Any] = {
    "classification": Classification,
    "fully_convolutional": FullyConvolutional,
    "region_descriptor": RegionDescription,
}
