"""ddb: the DynamoDB tables. Their shape, their contents, and a look inside."""

from .audit import audit as audit
from .conversations import get_conversation as get_conversation
from .conversations import list_conversations as list_conversations
from .conversations import send_message as send_message
from .data import export as export
from .data import import_items as import_items
from .data import query as query
from .data import scan as scan
from .seeds import seed as seed
from .stream import stream as stream
from .tables import describe as describe
from .tables import drop as drop
from .tables import list_tables as list_tables
from .tables import schema_load as schema_load
