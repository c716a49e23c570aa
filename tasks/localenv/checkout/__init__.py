"""This checkout: its index entry, its lock, the folders it owns, and whether its writes are on disk."""
