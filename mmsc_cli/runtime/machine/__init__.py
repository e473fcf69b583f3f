"""What this machine has: memory, cores, devices, software."""
