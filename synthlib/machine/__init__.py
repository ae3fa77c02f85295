"""The machine that runs the code: files, locks, devices, processes, downloads."""
