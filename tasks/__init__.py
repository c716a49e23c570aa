"""The root collection: the index of every command.

An app beside this tool has it in its own tasks.py by one line, whatever this tool's folder is called:
`from localenv.tasks import ns`.
"""

import sys

IS_IMPORTED = __name__ != "tasks"
"""Whether an app's tasks.py imports this package; its own module has the name `tasks` then."""
if IS_IMPORTED:
    sys.dont_write_bytecode = False  # as in this tool's tasks.py

from invoke import Collection  # noqa: E402

from . import cognito, completion, db, ddb, dev, env, rds, root, snapshot, undo  # noqa: E402

ns = Collection.from_module(root)
for task in (undo.undo, completion.completion):
    ns.add_task(task)
for module in (env, db, ddb, cognito, rds, snapshot):
    ns.add_collection(Collection.from_module(module))
if IS_IMPORTED:
    from ._running import guard

    guard()
else:
    for task in (dev.run_tests, dev.lint):
        ns.add_task(task)
