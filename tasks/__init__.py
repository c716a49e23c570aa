"""The root collection: the index of every command."""

from invoke import Collection

from . import cognito, db, ddb, dev, env, rds, root, snapshot

ns = Collection.from_module(root)
for module in (env, db, ddb, cognito, rds, snapshot):
    ns.add_collection(Collection.from_module(module))
for task in (dev.run_tests, dev.lint):
    ns.add_task(task)
