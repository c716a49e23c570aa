"""What is at AWS: whose account it is, the database that runs there, a table looked at against advice."""
