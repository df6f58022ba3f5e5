"""Which of the stored configs suits this machine and call, and what its pipeline tells."""
