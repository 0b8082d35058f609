"""Numerical kernels: Triton where there is an NVIDIA GPU, each beside its eager twin (docs/kernels.md)."""
