"""The docker engine: Compose changes containers, the Engine API reads them."""
