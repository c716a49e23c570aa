"""The production database at AWS: its instances, and the security group rule that admits this workspace."""
