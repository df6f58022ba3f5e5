"""Plain data that the rooms hand each other."""
