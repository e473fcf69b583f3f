"""The machine this runs on: memory, cores, devices, seeds, progress, parallel work and atomic writes."""
