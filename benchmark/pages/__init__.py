"""What the leaderboard page shows, gathered from entries."""
