"""What all four services speak: messages, bus, worker, settings, metrics."""
