"""Video files: probed, decoded, timed, turned upright, resized; sound taken along."""
