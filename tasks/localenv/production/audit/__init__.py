"""A production table looked at against the advice of the field. Reads AWS only; every finding has its fix."""
