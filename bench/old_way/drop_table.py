"""Step 5: drop the table."""

from common import TABLE, dynamodb

dynamodb().delete_table(TableName=TABLE)
