"""Every clip and caption of a data set checked, with a report."""
