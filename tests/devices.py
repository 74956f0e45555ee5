"""The devices that tests compute on; those of an accelerator have the mark `gpu`, and are left out where there is none."""

import pytest
import torch

ON_GPU = (pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))
DEVICES = ["cpu", pytest.param("cuda", marks=ON_GPU)]
