"""ddb: the DynamoDB tables. Their shape, their contents, and a look inside."""

from .conversations import seed as seed
from .items import scan as scan
from .tables import describe as describe
from .tables import drop as drop
from .tables import list_tables as list_tables
from .tables import schema_load as schema_load
