"""The production database as AWS sees it: its instances, and the rule that lets this workspace reach it."""
