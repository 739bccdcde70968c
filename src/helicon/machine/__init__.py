"""What a program stands on: devices and processes, precision, progress, provenance."""
