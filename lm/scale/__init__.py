"""What training will take: parameters, memory, operations and time, by arithmetic."""
