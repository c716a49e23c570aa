"""The protocol of AWS: to the local engines over plain HTTP, to AWS itself through boto3."""
