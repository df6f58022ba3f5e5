"""What earlier runs have measured: trials and winners."""
