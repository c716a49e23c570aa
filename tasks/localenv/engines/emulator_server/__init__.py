"""The program that runs as the emulator: ministack's AWS APIs on ports of the loopback address, saved as they change.

A process of its own, which imports nothing of this project but this folder.

    server    the ASGI application: gate, ministack, our own doors
    gate      who may ask: hosts and origins
    saving    what is on disk, and what could not be saved
    inside    all that is ministack's own: names, formats, functions. A new release of it is tried there
"""

TOKEN = "token"
"""A file with the word that opens the door to Cognito, new at each start. A web page can neither read nor send it."""
RUNNING = "running"
"""A file that exists while the server runs; one that is there before says that the last stop was not clean."""
UNSAVED = "unsaved"
"""A file that exists while what changed cannot be saved; its time is that of the first failure."""
