"""Open result files: round trips, joint maps, whole files or none."""

import csv
import errno

import numpy as np
import pytest

from mocap.errors import ExportError, SettingsError
from mocap.export import CsvLayout, ExportFormat, ExportSettings, export_result
from mocap.export.selection import to_skeleton
from mocap.skeleton import COCO_17, H36M_17
from mocap.types import Source

NPZ = ExportSettings(format=ExportFormat.NPZ)


def test_npz_holds_what_the_contract_names(take, tmp_path):
    path = export_result(take, None, NPZ, tmp_path / "r.npz")
    with np.load(path, allow_pickle=False) as file:
        assert set(file.files) == {"positions", "covariance", "source", "reprojection_error", "person_ids",
                                   "joint_names", "frames", "fps"}  # fmt: skip
        for name in ("positions", "covariance", "source", "reprojection_error", "person_ids", "frames"):
            np.testing.assert_array_equal(file[name], getattr(take, name))
        assert file["positions"].dtype == np.float32
        assert file["source"].dtype == np.uint8
        assert tuple(file["joint_names"]) == take.joint_names
        assert float(file["fps"]) == 29.97


def test_same_result_same_bytes(take, tmp_path):
    for settings in (NPZ, ExportSettings(format=ExportFormat.CSV)):
        a, b = (export_result(take, None, settings, tmp_path / n).read_bytes() for n in ("a", "b"))
        assert a == b


def test_npz_on_another_skeleton(take, tmp_path):
    settings = ExportSettings(skeleton="h36m17")
    with np.load(export_result(take, None, settings, tmp_path / "r.npz")) as file:
        assert tuple(file["joint_names"]) == H36M_17.joints
        hips = take.positions[:, :, [COCO_17.index("l_hip"), COCO_17.index("r_hip")]]
        np.testing.assert_allclose(file["positions"][:, :, 0], hips.mean(2), atol=1e-6)
        pelvis, l_hip = file["covariance"][30, 0, 0], take.covariance[30, 0, COCO_17.index("l_hip")]
        r_hip = take.covariance[30, 0, COCO_17.index("r_hip")]
        np.testing.assert_allclose(pelvis, (l_hip + r_hip) / 4, rtol=1e-5)
        knee = H36M_17.index("l_knee")
        np.testing.assert_array_equal(file["positions"][:, :, knee], take.positions[:, :, COCO_17.index("l_knee")])


def test_a_mapped_joint_is_as_direct_as_its_least_direct_part(take):
    mapped = to_skeleton(take, "h36m17")
    head = H36M_17.index("head")  # made of the ears, joints 3 and 4
    assert (mapped.source[10:12, 0, head] == Source.LIFTED).all()
    assert (mapped.source[12:14, 0, head] == Source.INTERPOLATED).all()
    assert (mapped.source[:10, 1] == Source.MISSING).all()
    assert mapped.reprojection_error[20, 0, head] == pytest.approx(
        np.sqrt((take.reprojection_error[20, 0, 3:5].astype(float) ** 2).mean()), rel=1e-5)  # fmt: skip


def test_a_skeleton_that_cannot_be_made(take):
    with pytest.raises(ExportError, match=r"coco17 has no joints to make .*heel"):
        to_skeleton(take, "halpe26")


def test_one_person(take, tmp_path):
    with np.load(export_result(take, None, ExportSettings(person=7), tmp_path / "r.npz")) as file:
        assert file["person_ids"].tolist() == [7]
        np.testing.assert_array_equal(file["positions"][:, 0], take.positions[:, 1])
    with pytest.raises(ExportError, match=r"no person 9(.|\n)*4, 7"):
        export_result(take, None, ExportSettings(person=9), tmp_path / "r.npz")


def read_rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_long_csv(take, tmp_path):
    rows = read_rows(export_result(take, None, ExportSettings(format=ExportFormat.CSV), tmp_path / "r.csv"))
    assert len(rows) == take.source.size
    row = rows[(20 * 2 + 0) * 17 + 5]
    assert (row["frame"], row["person"], row["joint"], row["source"]) == ("120", "4", "l_shoulder", "triangulated")
    np.testing.assert_allclose([float(row[c]) for c in ("x_m", "y_m", "z_m")], take.positions[20, 0, 5], atol=1e-6)
    np.testing.assert_allclose(float(row["std_y_m"]), np.sqrt(take.covariance[20, 0, 5, 1, 1]), atol=1e-6)
    assert float(row["time_s"]) == pytest.approx(120 / 29.97)
    missing = rows[(6 * 2 + 0) * 17 + 9]
    assert missing["source"] == "missing"
    assert missing["x_m"] == missing["std_x_m"] == missing["reprojection_error_px"] == ""
    assert rows[(10 * 2) * 17 + 3]["source"] == "lifted"
    assert rows[(12 * 2) * 17 + 4]["source"] == "interpolated"


def test_wide_csv(take, tmp_path):
    settings = ExportSettings(format=ExportFormat.CSV, csv_layout=CsvLayout.WIDE)
    rows = read_rows(export_result(take, None, settings, tmp_path / "r.csv"))
    assert len(rows) == 60 * 2
    row = rows[20 * 2]
    assert (row["frame"], row["person"]) == ("120", "4")
    np.testing.assert_allclose(float(row["l_shoulder_z_m"]), take.positions[20, 0, 5, 2], atol=1e-6)
    assert rows[12]["l_wrist_x_m"] == ""
    assert rows[12]["l_wrist_source"] == "missing"


@pytest.mark.parametrize(
    "kind", [ExportFormat.NPZ, ExportFormat.CSV, ExportFormat.BVH, ExportFormat.GLB, ExportFormat.C3D, ExportFormat.TRC]
)
def test_a_full_disk_leaves_the_old_file_and_nothing_else(take, motion, tmp_path, monkeypatch, kind):
    path = tmp_path / "r.out"
    path.write_text("old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ExportError, match="disk is full"):
        export_result(take, motion, ExportSettings(format=kind, person=4), path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.out"]


def test_a_folder_that_cannot_be_made(take, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written"):
        export_result(take, None, NPZ, tmp_path / "file" / "r.npz")


def test_bvh_without_motion(take, tmp_path):
    with pytest.raises(ExportError, match="solve stage"):
        export_result(take, None, ExportSettings(format=ExportFormat.BVH), tmp_path / "r.bvh")


@pytest.mark.parametrize(
    "bad",
    [{"format": "fbx2"}, {"skeleton": "smpl"}, {"unit": "inch"}, {"preset": "maia"}, {"rig": "daz"}, {"fps": -1.0}],
)
def test_bad_settings_name_the_field(bad):
    with pytest.raises(SettingsError, match=f"export.{next(iter(bad))}"):
        ExportSettings(**bad)
