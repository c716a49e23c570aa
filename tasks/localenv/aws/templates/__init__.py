"""Reads JSON, YAML and CloudFormation templates, every value with its place."""
