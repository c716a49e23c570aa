"""Doors to this machine: programs, files, ports, threads, waits. They know no settings and no store."""
