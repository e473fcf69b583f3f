"""Where data lies beside files of this machine: objects in buckets, and tables of databases."""
