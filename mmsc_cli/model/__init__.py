"""The architecture: semantic level, behaviour level, task level. How it is trained is in `train`."""
