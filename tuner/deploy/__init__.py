"""What a run leaves behind for applications."""
