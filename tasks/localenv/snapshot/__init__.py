"""Snapshots: the state of all three stores under a name, restored all or nothing."""
