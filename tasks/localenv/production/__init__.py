"""Production at AWS: the account, the database instances, the audit of a table."""
