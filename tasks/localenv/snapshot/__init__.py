"""Snapshots: the three stores at one point, kept under a name, and brought back all of them or none."""
