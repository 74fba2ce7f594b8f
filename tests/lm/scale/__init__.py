"""What training takes, by arithmetic."""
