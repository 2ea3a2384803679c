"""What a check found, as data and as text."""
