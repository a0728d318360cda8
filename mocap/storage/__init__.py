"""Artifacts on disk: HDF5 files written atomically, verified when read."""
