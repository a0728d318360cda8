"""2D people in videos: networks, tracking of their regions, and the detection stage.

Import `mocap.detection.settings` for the settings; `mocap.detection.stage` loads torch.
"""
