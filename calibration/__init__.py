"""Camera calibration: rigs, lens models, file formats. The lowest package; imports nothing above it."""
