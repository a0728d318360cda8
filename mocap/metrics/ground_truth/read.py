"""Which reader a ground truth file needs: by its ending and what is in it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import h5py

from mocap.errors import DataError
from mocap.metrics.ground_truth import bvh, c3d, human36m, mpi_inf_3dhp, multiview, npz, panoptic, shelf, trc
from mocap.metrics.poses import Poses3D

FORMATS = (
    "npz (ours, VideoPose3D's data_3d_h36m.npz, Shelf), npy (human36m-multiview-labels of learnable triangulation), "
    "h5 (Human3.6M of 3d-pose-baseline), mat (Shelf/Campus actorsGT, MPI-INF-3DHP annot), a folder or file of CMU "
    "Panoptic JSON, trc, bvh, c3d"
)


def read_ground_truth(path: Path, select: str = "") -> Poses3D:
    """Ground truth from a file of any known format, in metres.

    Parameters
    ----------
    path : Path
        A file, or a folder of CMU Panoptic's body3DScene_*.json.
    select : str
        Part of a file that holds several: ``SUBJECT/ACTION`` of Human3.6M (of multi-view labels
        also ``SUBJECT/ACTION@CAMERA``), the camera of MPI-INF-3DHP (and ``universal`` for its scaled poses).

    Raises
    ------
    DataError
        No such file, of no known format, damaged, or a part that is not in it.
    DependencyError
        A C3D file without ezc3d installed.
    """
    if not path.exists():
        raise DataError("no such file", expected=FORMATS, where=str(path))
    suffix = path.suffix.lower()
    if path.is_dir() or suffix == ".json":
        return panoptic.read_panoptic(path)
    if suffix == ".npz":
        return _read_npz(path, select)
    if suffix == ".npy":
        return multiview.read_multiview_labels(path, select)
    if suffix == ".mat":
        return _read_mat(path, select)
    if suffix in (".h5", ".hdf5"):
        return human36m.read_baseline_h5(path)
    plain = {".trc": trc.read_trc, ".bvh": bvh.read_bvh, ".c3d": c3d.read_c3d}
    if suffix in plain:
        return plain[suffix](path)
    raise DataError("ground truth of no known format", expected=FORMATS, found=suffix or "no ending", where=str(path))


def _read_npz(path: Path, select: str) -> Poses3D:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {n.removesuffix(".npy") for n in archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        names = set()
    if "positions_3d" in names:
        return human36m.read_videopose3d(path, select)
    if "joints" in names and "positions" not in names:
        return shelf.read_shelf_npz(path)
    if names in ({"arr_0"}, {"labels"}):
        return multiview.read_multiview_labels(path, select)
    return npz.read_truth_npz(path)


def _read_mat(path: Path, select: str) -> Poses3D:
    if h5py.is_hdf5(path):
        return mpi_inf_3dhp.read_test_annotation(path, select)
    names = shelf.mat_names(path)
    if "actor3D" in names:
        return shelf.read_actors_mat(path)
    if "annot3" in names:
        return mpi_inf_3dhp.read_training_annotation(path, select)
    raise DataError("a MATLAB file without ground truth", expected="actor3D or annot3",
                    found=", ".join(sorted(names)), where=str(path))  # fmt: skip
