"""Stands in for a package that asks for a GPU as it is imported."""

import os

asked = os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK")
