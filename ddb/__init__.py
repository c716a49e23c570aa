"""The app's DynamoDB: table definitions (tables/), and item shapes with their access patterns (messages.py)."""
