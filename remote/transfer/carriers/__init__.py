"""Which program carries the bytes: our own ranges over SSH, rsync, gcloud or a bucket."""
