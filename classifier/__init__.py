"""Features to predictions: windows per camera, and the temporal network of a lane."""
