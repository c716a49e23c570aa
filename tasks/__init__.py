"""The root collection: the index of every command."""

from invoke import Collection

from . import cognito, db, ddb, env, root

ns = Collection.from_module(root)
for module in (env, db, ddb, cognito):
    ns.add_collection(Collection.from_module(module))
