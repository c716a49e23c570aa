"""The engine without Docker: servers as processes of this user."""
