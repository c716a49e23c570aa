"""Numbers as DynamoDB stores them: up to 38 digits, equal by value however written. Connects to nothing.

Source: Amazon DynamoDB Developer Guide, "Supported data types and naming rules", numbers.
"""

from __future__ import annotations

from decimal import Context, Decimal

DIGITS = 38
_EXACT = Context(prec=DIGITS)


def number_text(content: str) -> str:
    """Return a number as text that is the same for equal numbers: 1.50 as 15E-1, -0 as 0."""
    number = Decimal(content).normalize(_EXACT)
    return str(number) if number else "0"
