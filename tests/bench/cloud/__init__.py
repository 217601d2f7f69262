"""Google's clouds on loopback: Compute Engine, its VMs from inside, and Cloud Storage."""
