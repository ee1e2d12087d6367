"""The front door: the command line, and all four stages in one process."""
