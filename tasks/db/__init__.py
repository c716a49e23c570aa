"""db: the Postgres database. Its shape, its contents, and a look inside."""

from .building import create as create
from .building import drop as drop
from .building import migrate as migrate
from .building import reset as reset
from .building import schema_load as schema_load
from .building import seed as seed
from .building import setup as setup
from .changing import diff as diff
from .changing import new_migration as new_migration
from .changing import rollback as rollback
from .loading import load as load
from .looking import connect as connect
from .looking import dump as dump
from .looking import query as query
from .looking import sessions as sessions
