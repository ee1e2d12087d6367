"""Data sets in, model bundles and evaluation reports out. `python -m training --help` teaches."""
