"""What `inv` loads. The tasks themselves are the package tasks/ beside this file."""

import sys

# Invoke has registered this very file as the module "tasks", which would hide the package.
sys.modules.pop("tasks", None)
# Invoke turns bytecode off; left so, the whole package would be compiled anew at every command.
sys.dont_write_bytecode = False

from tasks import _running, ns  # noqa: E402

_running.guard()
__all__ = ["ns"]
