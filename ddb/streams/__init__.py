"""The function behind the message table's stream: its code (group_rows.py), its policy, and how it is deployed."""
