"""Reads table definitions, every value with its place: JSON, YAML, CloudFormation, NoSQL Workbench models."""
