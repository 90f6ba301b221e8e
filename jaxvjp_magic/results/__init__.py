"""What a report is made of, as plain data, and as JSON."""
