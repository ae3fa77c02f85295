"""The machine that this runs on: files, locks, devices, processes."""
