"""Stands in for a package that starts CUDA as it is imported: what is forked then has no GPU."""

import os

import torch

asked = os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK")
os.register_at_fork(after_in_child=lambda: setattr(torch.cuda, "_is_in_bad_fork", lambda: True))
