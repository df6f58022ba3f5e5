"""What disturbs timing: other processes, heat, quotas, a slowed processor."""
