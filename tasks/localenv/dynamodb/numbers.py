"""Numbers as DynamoDB keeps them: up to 38 digits, and equal whatever way they are written. Nothing connects here.

Source: Amazon DynamoDB Developer Guide, "Supported data types and naming rules", numbers.
"""

from __future__ import annotations

from decimal import Context, Decimal

DIGITS = 38
_EXACT = Context(prec=DIGITS)


def number_text(content: str) -> str:
    """Write a number as a text that equals that of another one of the same value: 1.50 as 15E-1, -0 as 0."""
    number = Decimal(content).normalize(_EXACT)
    return str(number) if number else "0"
