"""The use cases over all stores: what runs, whether it belongs together, and what to do where it does not."""
