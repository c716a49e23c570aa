"""The use cases across all stores: what runs, whether the stores agree, and what to do if they do not."""
