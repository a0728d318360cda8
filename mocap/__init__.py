"""Multi-camera motion capture: from 2D people in several views to animation-ready 3D motion."""

__version__ = "0.1.0"
