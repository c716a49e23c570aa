"""The engine of containers: Compose changes them, the Engine API looks at them."""
