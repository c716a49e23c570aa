"""The emulator's program: ministack's AWS APIs on loopback ports, saved as they change.

It is its own process, and imports nothing of this project but this folder.

    server    the ASGI application: gate, ministack, our own endpoints
    gate      which hosts and origins are allowed
    saving    what is on disk, and what could not be saved
    trigger   the app's function for a user who is confirmed, run by run_handler as its own program
    inside    everything specific to ministack: names, formats, functions; the file to change for a new release
"""

TOKEN = "token"
"""A file with the token for the Cognito endpoint, new at each start. A web page can neither read nor send it."""
RUNNING = "running"
"""A file that exists while the server runs; one found at the start means that the last stop was unclean."""
UNSAVED = "unsaved"
"""A file that exists while changes cannot be saved; its mtime is that of the first failure."""
