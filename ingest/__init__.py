"""Cameras to frames: sources, sampling, motion, capture processes, and the fleet that runs them."""
