"""Reads table definitions in any form: templates, the API's parameters, NoSQL Workbench models."""
