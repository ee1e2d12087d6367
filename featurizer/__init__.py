"""Frames to features: the convolutional network of a lane, cameras mixed in batches."""
