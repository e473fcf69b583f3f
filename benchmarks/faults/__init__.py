"""Faults on purpose: campaigns that are too long for the test suite."""
