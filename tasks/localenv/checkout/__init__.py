"""This checkout: its id, its lock, which folders are ours, and whether what was written is on disk."""
