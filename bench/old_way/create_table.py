"""Step 6: create the table, with its index and stream."""

from common import TABLE, dynamodb

THROUGHPUT = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}
dynamodb().create_table(
    TableName=TABLE,
    AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("message_group_uuid", "pk", "sk")],
    KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    GlobalSecondaryIndexes=[
        {
            "IndexName": "message-group-sk-index",
            "KeySchema": [
                {"AttributeName": "message_group_uuid", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "ALL"},
            "ProvisionedThroughput": THROUGHPUT,
        }
    ],
    BillingMode="PROVISIONED",
    ProvisionedThroughput=THROUGHPUT,
    StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
)
