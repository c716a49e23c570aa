"""What a rejected statement asked for, and the other engine has: embedded is PostgreSQL 18, docker 17."""

from __future__ import annotations

import re

DOCKER = "docker has it: --engine docker"
EMBEDDED = "embedded has it, PostgreSQL 18: --engine embedded"
NEITHER = "neither engine has it: give db in docker-compose.yml an image that does, and use --engine docker"
EXTENSIONS = {"sslinfo": DOCKER, "xml2": DOCKER, "vector": EMBEDDED, "pg_logicalinspect": EMBEDDED}
"""The extensions that one engine alone has; those of both are never missing."""
PROVIDED = "remove the line: {} alone has this extension"
PROVIDERS = {
    **{"aws_": "Amazon RDS", "rds_": "Amazon RDS", "apg_": "Amazon Aurora", "google_": "Google Cloud SQL"},
    **{"azure_": "Azure", "supabase_": "Supabase", "pg_graphql": "Supabase", "neon": "Neon"},
}
"""Whose extensions begin so."""
SINCE_18 = re.compile(
    rb"""\b(?:uuidv[47]|casefold|crc32c?|array_sort|array_reverse|l?gamma|pg_get_acl)\s*\(
    | \bwithout\s+overlaps\b | \bperiod\s+\w | \bnot\s+enforced\b | \breturning\b.*\b(?:old|new)\.
    | \bgenerated\s+always\s+as\s*\((?!.*\bstored\b)""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
"""SQL of PostgreSQL 18. Source: its release notes, "Migration" apart."""
UNKNOWN = ("42601", "42883", "42P01", "42703", "42704")
"""SQLSTATEs of what a server does not know: syntax, function, table, column, object."""
FIRST_WITH_ALL = 180000
_MISSING = re.compile(r'extension "([^"]+)" is not available')


def find_engine(sqlstate: str, message: str, statement: bytes, server_version: int) -> str:
    """Return as a hint which engine has what a rejected statement asked for; empty where that was not the reason."""
    if missing := _MISSING.search(message):
        provider = next((provider for begins, provider in PROVIDERS.items() if missing[1].startswith(begins)), "")
        return PROVIDED.format(provider) if provider else EXTENSIONS.get(missing[1], NEITHER)
    is_old = 0 < server_version < FIRST_WITH_ALL
    return EMBEDDED if is_old and sqlstate in UNKNOWN and SINCE_18.search(statement) else ""
