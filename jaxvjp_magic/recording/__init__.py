"""From what the hooks see to facts."""
