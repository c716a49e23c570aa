"""The audit of a production table against best practices. Only reads from AWS; every finding has its fix."""
