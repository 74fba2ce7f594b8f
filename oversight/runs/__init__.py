"""What every command shares: command lines, run folders, parallel jobs, statistics and figures."""
