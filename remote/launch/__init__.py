"""Starting work on a host: looking first, then each step that is missing, then the job."""
