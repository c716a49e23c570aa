"""The root collection: the index of every command."""

from invoke import Collection

ns = Collection()
