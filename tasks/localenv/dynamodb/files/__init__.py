"""What files say, each value with its place: JSON, YAML, CloudFormation templates, NoSQL Workbench models."""
